//! Reading a number out of a JSON document, friendly and hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn read(text: &str, pointer: &str) -> Result<String, String> {
    let value = value_at(text, &pointer.parse().unwrap()).map_err(|error| error.to_string())?;
    Ok(value.to_string())
}

#[test]
fn a_number_is_read_digit_for_digit() {
    let text = r#"{"a":{"b":[10,0.1234567890123456789012345678,"7.50"," 8 "],"c/d":1,"e~f":2,"":3,"0":4}} "#;
    for (pointer, value) in [
        ("/a/b/0", "10"),
        ("/a/b/1", "0.1234567890123456789012345678"),
        ("/a/b/2", "7.5"),
        ("/a/b/3", "8"),
        ("/a/c~1d", "1"),
        ("/a/e~0f", "2"),
        ("/a/", "3"),
        ("/a/0", "4"),
    ] {
        assert_eq!(read(text, pointer).as_deref(), Ok(value), "{pointer}");
    }
    for (text, value) in [
        ("1.0e-2", "0.01"),
        ("\"3\"", "3"),
        ("  -0.0 ", "0"),
        ("\u{feff}4", "4"),
    ] {
        assert_eq!(read(text, "").as_deref(), Ok(value), "{text}");
    }
    // As a double this would be 9007199254740992.
    assert_eq!(
        read(r#"{"n":9007199254740993}"#, "/n").as_deref(),
        Ok("9007199254740993")
    );
    assert_eq!(read("{\"\\u006e\":5}", "/n").as_deref(), Ok("5"));
}

#[test]
fn what_is_not_there_is_named_by_the_step_that_fails() {
    for (text, pointer, reason) in [
        (r#"{"a":1}"#, "/b", "the pointer /b finds nothing: step 1"),
        (
            r#"{"a":{"b":[1]}}"#,
            "/a/b/1",
            "the pointer /a/b/1 finds nothing: step 3",
        ),
        (r#"{"a":{"b":[1]}}"#, "/a/b/-", "step 3 leads nowhere"),
        (r#"{"a":{"b":[1]}}"#, "/a/b/00", "step 3 leads nowhere"),
        (
            r#"{"a":{"b":[1]}}"#,
            "/a/b/18446744073709551616",
            "step 3 leads nowhere",
        ),
        (r#"{"a":1}"#, "/a/b", "step 2 leads nowhere"),
        ("[1]", "/a", "step 1 leads nowhere"),
        ("3", "/0", "step 1 leads nowhere"),
        (
            r#"{"a":1,"b":2,"a":1}"#,
            "/a",
            "the pointer /a is ambiguous: the member of step 1 occurs more than once",
        ),
        (
            r#"{"a":{},"\u0061":{"b":1}}"#,
            "/a/b",
            "ambiguous: the member of step 1",
        ),
    ] {
        let error = read(text, pointer).unwrap_err();
        assert!(error.contains(reason), "{text} {pointer}: {error}");
    }
}

#[test]
fn what_is_no_number_is_named_by_its_kind_and_never_quoted() {
    for (text, reason) in [
        ("{}", "at the document's root stands an object, not a number"),
        ("[]", "stands an array"),
        ("true", "stands a boolean"),
        ("null", "stands null"),
        ("\"NaN\"", "not a decimal number (character 1)"),
        ("\"secret\"", "not a decimal number (character 1)"),
        ("\"\"", "the value is empty"),
        ("\"\\ud800\"", "a string that is not Unicode"),
        ("1e400", "more than 28 digits"),
        (
            "0.12345678901234567890123456789",
            "more than 28 significant digits",
        ),
        (&format!("1{}", "0".repeat(100)), "the value has 101 bytes"),
    ] {
        let error = read(text, "").unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
        assert!(!error.contains("secret"));
    }
}

#[test]
fn what_is_no_json_is_named_by_line_and_column() {
    for text in [
        "",
        " ",
        "<html>",
        "{\"a\":1",
        "{\"a\":1} x",
        "NaN",
        "{'a':1}",
        "01",
        "+1",
        ".5",
        "1,2",
        "{\"a\":1,}",
        "\u{0}",
    ] {
        let error = value_at(text, &"/a".parse().unwrap()).unwrap_err();
        assert!(matches!(error, JsonError::NotJson { .. }), "{text:?}: {error}");
    }
    let error = read("{\n  \"a\": oops}", "/a").unwrap_err();
    assert_eq!(error, "the source's answer is not JSON (line 2, column 8)");
}

#[test]
fn nesting_however_deep_costs_no_stack() {
    let depth = 100_000;
    let deep = format!("{{\"v\":1,\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(read(&deep, "/v").as_deref(), Ok("1"));
    assert!(read(&deep, "/x").unwrap_err().contains("an array"));
    assert!(
        read(&deep, &format!("/x{}", "/0".repeat(31)))
            .unwrap_err()
            .contains("an array")
    );
    let open = "[".repeat(depth);
    assert!(read(&open, "/0").unwrap_err().contains("not JSON"));
}

#[test]
fn a_time_is_read_from_a_string() {
    let text = r#"{"at":"2026-03-01T10:00:00+01:00","day":"2026-03-01","epoch":1772355600}"#;
    let time = |pointer: &str| time_at(text, &pointer.parse().unwrap());
    assert_eq!(time("/at").unwrap().to_string(), "2026-03-01T09:00:00.000000Z");
    assert_eq!(time("/day").unwrap().to_string(), "2026-03-01T00:00:00.000000Z");
    assert!(matches!(time("/epoch"), Err(JsonError::Time { .. })));
    assert!(matches!(time("/none"), Err(JsonError::NotFound { .. })));
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "[a~/\"é]{0,3}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec(("[a0~/]{0,2}", inner), 0..4)
                .prop_map(|members| { serde_json::Value::Object(members.into_iter().collect()) }),
        ]
    })
}

proptest! {
    #[test]
    fn a_pointer_finds_what_serde_json_finds(json in any_json(), pointer in "(/[a0-2~01]{0,2}){0,4}") {
        let text = json.to_string();
        if let Ok(parsed) = pointer.parse::<JsonPointer>() {
            let found = walk::find(&text, &parsed).ok().map(|found| serde_json::from_str(found).unwrap());
            prop_assert_eq!(found.as_ref(), json.pointer(&pointer));
        }
    }

    #[test]
    fn any_text_gives_a_value_or_an_error_without_a_panic(text in "[\\[\\]{}\":,0-9eE.\\\\ua-]{0,40}", pointer in "(/[a0]?){0,3}") {
        let _ = read(&text, &pointer);
    }
}
