//! Reading when a figure was observed: a date (its first instant, in UTC) or RFC 3339.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use counterfoil_events::kri::frequency::END_OF_TIME;
use counterfoil_events::timestamp::Timestamp;

/// The instant that `text` names, if it lies between 1970 and 9999: what the log can spell.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.with_timezone(&Utc),
        Err(_) => date(text)?.and_time(NaiveTime::MIN).and_utc(),
    };
    (DateTime::UNIX_EPOCH..=END_OF_TIME)
        .contains(&time)
        .then(|| time.into())
}

fn date(text: &str) -> Option<NaiveDate> {
    // chrono also reads 2026-1-5; ten characters leave one spelling.
    if text.len() == 10 {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_means_its_first_instant_in_utc_and_offsets_are_converted() {
        for (text, instant) in [
            ("2026-03-01", "2026-03-01T00:00:00.000000Z"),
            ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000000Z"),
            ("2026-03-01T10:00:00.1234567+02:00", "2026-03-01T08:00:00.123456Z"),
        ] {
            assert_eq!(
                parse(text).map(|time| time.to_string()).as_deref(),
                Some(instant),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_or_outside_four_digit_years_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-3-1",
            "2026-02-30",
            "01/03/2026",
            "1709251200",
            "1969-12-31",
            "+12026-01-01",
            "2026-03-01 10:00",
            "2026-03-01T10:00:00",
            "9999-12-31T23:59:59.5-01:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
