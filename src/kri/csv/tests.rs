//! The csv source on documents as people export them, and as attackers do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// The figure with all rows known.
fn sample(text: &str, source: &CsvSource) -> Result<Sample, CsvError> {
    super::sample(text, source, None)
}

fn source(aggregate: &str) -> CsvSource {
    serde_json::from_str(&format!(
        r#"{{"text":"","column":"rate","aggregate":"{aggregate}"}}"#
    ))
    .unwrap()
}

fn timed(aggregate: &str) -> CsvSource {
    CsvSource {
        time_column: Some("day".parse().unwrap()),
        ..source(aggregate)
    }
}

fn figure(text: &str, aggregate: &str) -> Result<String, String> {
    let sample = sample(text, &source(aggregate)).map_err(|error| error.to_string())?;
    Ok(sample.measurement.value.to_string())
}

#[test]
fn each_aggregate_computes_what_its_name_says() {
    let text = "day,rate\n2026-01-01,0.1\n2026-01-02,0.2\n2026-01-03,-1\n2026-01-04,0.3\n";
    for (aggregate, expected) in [
        ("sum", "-0.4"),
        ("mean", "-0.1"),
        ("last", "0.3"),
        ("max", "0.3"),
        ("min", "-1"),
        ("count", "4"),
    ] {
        assert_eq!(figure(text, aggregate).as_deref(), Ok(expected), "{aggregate}");
    }
}

#[test]
fn last_follows_the_time_column_and_not_the_order_of_lines() {
    let text = "day,rate\n2026-01-03,3\n2026-01-04T12:00:00+02:00,4\n2026-01-01,1\n2026-01-04T10:00:00Z,5\n2026-01-02,2\n";
    let sample = sample(text, &timed("last")).unwrap();
    assert_eq!(sample.measurement.value.to_string(), "5");
    assert_eq!(
        sample.measurement.observed_at.unwrap().to_string(),
        "2026-01-04T10:00:00.000000Z"
    );
    assert_eq!(sample.rows, Some(5));
    assert_eq!(figure(text, "last").as_deref(), Ok("2"));
}

#[test]
fn only_rows_that_pass_the_filter_are_read() {
    let filtered = CsvSource {
        filter: serde_json::from_str(r#"{"column":"desk","equals":"north"}"#).unwrap(),
        ..source("sum")
    };
    let text = "desk,rate\nnorth,1\nsouth,nonsense\n north ,2\nNorth,4\n,8\n";
    let sample = sample(text, &filtered).unwrap();
    assert_eq!(
        (sample.measurement.value.to_string().as_str(), sample.rows),
        ("3", Some(2))
    );
}

#[test]
fn a_filter_that_nothing_passes_is_an_error_and_not_a_zero() {
    let filtered = CsvSource {
        filter: serde_json::from_str(r#"{"column":"desk","equals":"nroth"}"#).unwrap(),
        ..source("count")
    };
    assert_eq!(
        sample("desk,rate\nnorth,1\n", &filtered).unwrap_err(),
        CsvError::NoRows
    );
    assert_eq!(
        sample("desk,rate\n", &source("sum")).unwrap_err(),
        CsvError::NoRows
    );
}

#[test]
fn documents_as_spreadsheets_write_them_are_read() {
    for text in [
        "\u{feff}day,rate\r\n2026-01-01,0.5\r\n",
        "\"day\",\"rate\"\n\"2026-01-01\",\"0.5\"\n",
        "day , rate \n2026-01-01 , 0.5 \n\n\n",
        "note,rate\n\"two\nlines, and a \"\"quote\"\"\",.5",
        "rate\n0.50",
    ] {
        assert_eq!(figure(text, "sum").as_deref(), Ok("0.5"), "{text:?}");
    }
}

#[test]
fn missing_and_absurd_values_are_named_by_line_and_column() {
    for (text, reason) in [
        ("day,rate\na,1\nb,\n", "line 3, column rate: the value is missing"),
        (
            "\r\n\nday,rate\r\"x\r\ny\",\n",
            "line 4, column rate: the value is missing",
        ),
        (
            "\u{feff}day,rate\r\n\r\na,1\r\nb\r\n",
            "line 4: the row has 1 fields where the heading has 2",
        ),
        (
            "day,rate\r\na,1\r\n\r\nb,  \r\n",
            "line 4, column rate: the value is missing",
        ),
        (
            "day,rate\na,NaN\n",
            "line 2, column rate: not a decimal number (character 1)",
        ),
        (
            "day,rate\na,inf\n",
            "line 2, column rate: not a decimal number (character 1)",
        ),
        (
            "day,rate\na,n/a\n",
            "line 2, column rate: not a decimal number (character 1)",
        ),
        (
            "day,rate\n\"x\ny\",1\na,12%\n",
            "line 4, column rate: not a decimal number (character 3)",
        ),
        (
            "day,rate\na,\"1,234.5\"\n",
            "line 2, column rate: not a decimal number (character 2)",
        ),
        (
            "day,rate\na,1e999\n",
            "line 2, column rate: the value has more than 28 digits before or after",
        ),
        (
            "day,rate\na,0.12345678901234567890123456789\n",
            "line 2, column rate: the value needs more than 28 significant digits",
        ),
        (
            "day,rate\na,=1+1\n",
            "line 2, column rate: not a decimal number (character 1)",
        ),
        (
            "day,rate\na,1\nb,1,5\n",
            "line 3: the row has 3 fields where the heading has 2",
        ),
        (
            "day,rate\na\n",
            "line 2: the row has 1 fields where the heading has 2",
        ),
        ("day,rate\na,\"1\n", "a quote (\") is opened and never closed"),
        (
            "day;rate\na;1\n",
            "the heading (line 1) has no column rate; fields are separated by commas",
        ),
        ("day,Rate\na,1\n", "the heading (line 1) has no column rate"),
        (
            "rate,rate\n1,2\n",
            "the heading (line 1) has more than one column rate",
        ),
        ("", "the heading (line 1) has no column rate"),
        (
            "<html><body>rate</body></html>",
            "the heading (line 1) has no column rate",
        ),
    ] {
        let error = figure(text, "sum").unwrap_err();
        assert!(error.starts_with(reason), "{text:?}: {error}");
    }
}

#[test]
fn a_time_that_cannot_be_read_is_named_by_line_and_column() {
    let error = sample("day,rate\n2026-01-01,1\n01/02/2026,2\n", &timed("sum")).unwrap_err();
    assert!(
        error.to_string().starts_with("line 3, column day: no time"),
        "{error}"
    );
    let error = sample("day,rate\n,1\n", &timed("sum")).unwrap_err();
    assert_eq!(error.to_string(), "line 2, column day: the value is missing");
}

#[test]
fn a_sum_beyond_28_digits_is_an_error_and_not_rounded() {
    let text = "rate\n9999999999999999999999999999\n0.5\n";
    let error = figure(text, "sum").unwrap_err();
    assert!(
        error.starts_with("the sum of column rate cannot be kept exactly"),
        "{error}"
    );
    assert_eq!(
        figure(text, "mean").as_deref(),
        Ok("5000000000000000000000000000")
    );
}

#[test]
fn a_count_does_not_read_the_values() {
    assert_eq!(figure("rate\nopen\nclosed\n", "count").as_deref(), Ok("2"));
}

#[test]
fn a_table_of_too_many_columns_is_refused() {
    let text = format!("rate{}\n", ",x".repeat(1_000));
    assert!(
        figure(&text, "sum")
            .unwrap_err()
            .starts_with("the heading has 1001 columns")
    );
}

#[test]
fn the_history_behind_a_figure_can_be_read_row_by_row() {
    let text = "day,rate\n2026-01-02,2\n2026-01-01,1\n";
    let lines: Vec<_> = readings(text, &timed("last"))
        .unwrap()
        .into_iter()
        .map(|r| (r.line, r.value.to_string(), r.observed_at.unwrap().to_string()))
        .collect();
    insta::assert_debug_snapshot!(lines, @r#"
    [
        (
            2,
            "2",
            "2026-01-02T00:00:00.000000Z",
        ),
        (
            3,
            "1",
            "2026-01-01T00:00:00.000000Z",
        ),
    ]
    "#);
}

proptest! {
    #[test]
    fn the_order_of_rows_changes_no_figure_but_the_last(
        (values, shuffled) in prop::collection::vec(-10_000i32..10_000, 1..30)
            .prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle()))
    ) {
        let text = |values: &[i32]| {
            values.iter().fold("rate\n".to_owned(), |text, value| format!("{text}{value}e-3\n"))
        };
        for aggregate in ["sum", "mean", "max", "min", "count"] {
            prop_assert_eq!(figure(&text(&values), aggregate), figure(&text(&shuffled), aggregate));
        }
    }

    #[test]
    fn any_document_gives_a_figure_or_an_error_without_a_panic(text in "(rate|a|\"|,|\r?\n|1|\\.| |é){0,40}") {
        for aggregate in ["sum", "last"] {
            let _ = figure(&text, aggregate);
        }
    }
}

#[test]
fn a_run_as_of_a_past_day_knows_only_the_rows_until_then() {
    let text = "day,rate\n2026-01-01,1\n2026-01-02,2\n2026-01-03,3\n";
    let at = |day: &str| Some(format!("{day}T00:00:00.000000Z").parse().unwrap());
    let known =
        |day| super::sample(text, &timed("last"), at(day)).map(|sample| sample.measurement.value.to_string());
    assert_eq!(known("2026-01-02").as_deref(), Ok("2"));
    assert_eq!(known("2026-02-01").as_deref(), Ok("3"));
    assert_eq!(
        known("2025-12-31"),
        Err(CsvError::NoRows),
        "before the first row nothing was known"
    );
}
