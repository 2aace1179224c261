#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::gateway::wire::messages::Role;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(body: &Value) -> Result<ChatRequest, ApiError> {
    ChatRequest::parse(body.to_string().as_bytes())
}

fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"model": "demo-small", "messages": [{"role": "user", "content": "Hello"}]});
    body[field] = value;
    body
}

/// `param code` of a refusal.
fn refused(body: &Value) -> String {
    let error = parse(body).expect_err("to be refused");
    assert_eq!(
        (error.status.as_u16(), error.kind),
        (400, "invalid_request_error")
    );
    format!(
        "{} {}",
        error.param.unwrap_or_default(),
        error.code.unwrap_or_default()
    )
}

#[test]
fn a_full_request_is_read() {
    let request = parse(&json!({
        "model": "demo-large", "stream": true, "stream_options": {"include_usage": true}, "n": 2,
        "max_tokens": 100, "temperature": 0.2, "stop": ["END"], "unknown_field": {"kept": true},
        "tools": [{"type": "function", "function": {"name": "read_ledger", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "read_ledger"}},
        "response_format": {"type": "json_object"},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is open?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "read_ledger", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "3 items"}
        ]
    }))
    .unwrap();
    assert!(request.stream && request.include_usage);
    assert_eq!(
        (request.choices, request.max_tokens),
        (2, Some((MaxTokensField::MaxTokens, 100)))
    );
    assert_eq!(request.tool_choice, ToolChoice::Named("read_ledger".into()));
    assert_eq!((request.prompt.roles.len(), request.prompt.opaque_parts), (4, 1));
    assert!(request.prompt.ends_with_tool_result());
    assert_eq!(request.prompt.last_user_text(), Some("What is open?"));
    let roles: Vec<Role> = request.prompt.texts.iter().map(|part| part.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool]);
    assert!(request.fields.contains(&"unknown_field".to_owned()));
}

#[test]
fn each_field_out_of_type_or_range_is_named() {
    for (field, value, expected) in [
        ("model", json!(3), "model invalid_type"),
        ("model", json!(""), "model empty_string"),
        ("model", json!("a b"), "model invalid_value"),
        ("model", Value::Null, "model missing_required_parameter"),
        ("messages", json!([]), "messages empty_array"),
        ("messages", json!("x"), "messages invalid_type"),
        ("messages", json!([3]), "messages[0] invalid_type"),
        (
            "messages",
            json!([{"role": "boss", "content": "x"}]),
            "messages[0].role invalid_value",
        ),
        (
            "messages",
            json!([{"content": "x"}]),
            "messages[0].role missing_required_parameter",
        ),
        (
            "messages",
            json!([{"role": "user"}]),
            "messages[0].content missing_required_parameter",
        ),
        (
            "messages",
            json!([{"role": "user", "content": 1}]),
            "messages[0].content invalid_type",
        ),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text"}]}]),
            "messages[0].content[1].text missing_required_parameter",
        ),
        (
            "messages",
            json!([{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]),
            "messages[0].content[0].type invalid_value",
        ),
        ("temperature", json!(2.5), "temperature decimal_above_max_value"),
        ("temperature", json!("hot"), "temperature invalid_type"),
        ("top_p", json!(-0.1), "top_p decimal_below_min_value"),
        ("n", json!(0), "n integer_below_min_value"),
        ("n", json!(129), "n integer_above_max_value"),
        ("max_tokens", json!(0), "max_tokens integer_below_min_value"),
        ("max_tokens", json!(10.0), "max_tokens invalid_type"),
        (
            "stop",
            json!(["a", "b", "c", "d", "e"]),
            "stop array_above_max_length",
        ),
        ("stop", json!([1]), "stop[0] invalid_type"),
        ("stream", json!("yes"), "stream invalid_type"),
        (
            "stream_options",
            json!({"include_usage": true}),
            "stream_options invalid_value",
        ),
        ("top_logprobs", json!(3), "top_logprobs invalid_value"),
        (
            "logit_bias",
            json!({"50256": 101}),
            "logit_bias.50256 decimal_above_max_value",
        ),
        (
            "response_format",
            json!({"type": "xml"}),
            "response_format.type invalid_value",
        ),
        (
            "response_format",
            json!({"type": "json_schema"}),
            "response_format.json_schema missing_required_parameter",
        ),
        ("tool_choice", json!("auto"), "tool_choice invalid_value"),
        (
            "tools",
            json!([{"type": "function"}]),
            "tools[0].function missing_required_parameter",
        ),
        (
            "tools",
            json!([{"type": "function", "function": {"name": "a b"}}]),
            "tools[0].function.name invalid_value",
        ),
        ("metadata", json!({"a": 1}), "metadata.a invalid_type"),
    ] {
        assert_eq!(
            refused(&with(field, value.clone())),
            expected,
            "{field} = {value}"
        );
    }
}

#[test]
fn null_stands_for_absent() {
    for field in [
        "temperature",
        "stop",
        "tools",
        "tool_choice",
        "stream_options",
        "max_tokens",
        "response_format",
        "user",
    ] {
        assert!(parse(&with(field, Value::Null)).is_ok(), "{field}");
    }
}

#[test]
fn tool_results_follow_their_calls_one_for_one() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let asks = |ids: &[&str]| json!({"role": "assistant", "tool_calls": ids.iter().map(|id| call(id)).collect::<Vec<_>>()});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "ok"});
    let user = || json!({"role": "user", "content": "x"});
    let messages = |list: Vec<Value>| with("messages", Value::from(list));

    assert!(
        parse(&messages(vec![
            user(),
            asks(&["a", "b"]),
            result("b"),
            result("a"),
            user()
        ]))
        .is_ok()
    );
    for (list, expected) in [
        (vec![user(), result("a")], "messages[1].role invalid_value"),
        (vec![user(), asks(&["a"])], "messages[1].tool_calls invalid_value"),
        (
            vec![user(), asks(&["a"]), user()],
            "messages[1].tool_calls invalid_value",
        ),
        (
            vec![user(), asks(&["a", "b"]), result("a")],
            "messages[1].tool_calls invalid_value",
        ),
        (
            vec![user(), asks(&["a"]), result("a"), result("a")],
            "messages[3].tool_call_id invalid_value",
        ),
        (
            vec![user(), asks(&["a"]), result("c")],
            "messages[2].tool_call_id invalid_value",
        ),
        (
            vec![user(), asks(&["a", "a"])],
            "messages[1].tool_calls invalid_value",
        ),
        (
            vec![user(), asks(&["a"]), result("a"), user(), result("a")],
            "messages[4].role invalid_value",
        ),
    ] {
        assert_eq!(refused(&messages(list.clone())), expected, "{list:?}");
    }
}

#[test]
fn bodies_that_are_no_json_object_are_refused_without_a_path() {
    for body in [
        "",
        "{",
        "[]",
        "3",
        r#"{"model":"a","model":"b"}"#,
        "{\"model\":\"\u{1}\"}",
    ] {
        let error = ChatRequest::parse(body.as_bytes()).expect_err(body);
        assert_eq!((error.status.as_u16(), error.param), (400, None), "{body}");
    }
}

proptest! {
    #[test]
    fn no_message_repeats_what_was_sent(marker in "[a-z]{12}", field in 0usize..8) {
        let fields = ["model", "messages", "tools", "stop", "temperature", "metadata", "response_format", "tool_choice"];
        for value in [json!(marker), json!([marker]), json!({&marker: marker}), json!([{"role": marker, "type": marker}])] {
            if let Err(error) = parse(&with(fields[field], value)) {
                // A key of the caller's own maps is part of the path by design; values never are.
                let text = error.to_json().replace(&format!("metadata.{marker}"), "");
                prop_assert!(!text.contains(&marker), "{}", text);
            }
        }
    }

    #[test]
    fn any_bytes_at_all_are_answered_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ChatRequest::parse(&bytes);
    }
}
