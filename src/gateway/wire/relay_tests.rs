#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use serde_json::{Value, json};

fn relay(include_usage: bool, chunks: &[Value]) -> (Vec<Value>, StreamSummary) {
    let mut relay = StreamRelay::new(include_usage);
    let mut sent = Vec::new();
    for chunk in chunks {
        let text = chunk.to_string();
        if let Some(out) = relay.take(&text).unwrap() {
            sent.push(serde_json::from_str(&out).unwrap());
        }
    }
    (sent, relay.summary().clone())
}

fn chunk(choices: Value) -> Value {
    json!({"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices})
}

fn delta(delta: Value, finish_reason: Value) -> Value {
    chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish_reason}]))
}

#[test]
fn well_formed_chunks_pass_byte_for_byte() {
    let text = "{\"id\":\"c\", \"created\":1,\"model\":\"m\",\"x\":1.50,\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"h\\u00e9\"},\"index\":0}]}";
    let mut relay = StreamRelay::new(false);
    assert_eq!(relay.take(text).unwrap().unwrap(), text);
    assert_eq!(relay.summary().output_bytes, 3);
}

#[test]
fn usage_is_read_and_shown_only_to_callers_who_asked() {
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 0});
    let mut on_choice = delta(json!({"role": "assistant", "content": "a"}), json!("stop"));
    on_choice["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 9});
    let mut alone = chunk(json!([]));
    alone["usage"] = usage;
    let (sent, summary) = relay(false, &[on_choice.clone(), alone.clone()]);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].get("usage"), None);
    // The last one counts, and an explicit zero is a value.
    assert_eq!(summary.usage.unwrap().completion_tokens, 0);
    let (sent, _) = relay(true, &[on_choice.clone(), alone.clone()]);
    assert_eq!(sent, [on_choice, alone]);
}

#[test]
fn null_usage_is_dropped_for_callers_who_did_not_ask() {
    let mut first = delta(json!({"role": "assistant", "content": "a"}), Value::Null);
    first["usage"] = Value::Null;
    let (sent, summary) = relay(false, &[first]);
    assert_eq!(sent[0].get("usage"), None);
    assert_eq!(summary.usage, None);
}

#[test]
fn identity_and_role_are_mended() {
    let mut second = delta(json!({"content": "b"}), Value::Null);
    second["id"] = json!("other");
    second["created"] = json!(8);
    second["model"] = json!("m-2026");
    let (sent, summary) = relay(false, &[delta(json!({"content": "a"}), Value::Null), second]);
    assert_eq!(
        sent[0]["choices"][0]["delta"],
        json!({"content": "a", "role": "assistant"})
    );
    assert_eq!(
        (&sent[1]["id"], &sent[1]["created"], &sent[1]["model"]),
        (&json!("c-1"), &json!(7), &json!("m"))
    );
    assert_eq!(sent[1]["choices"][0]["delta"], json!({"content": "b"}));
    assert_eq!(summary.upstream_id.as_deref(), Some("c-1"));
}

#[test]
fn tool_call_deltas_get_an_index_and_lose_repeated_names() {
    let call = |value: Value| delta(json!({"role": "assistant", "tool_calls": [value]}), Value::Null);
    let (sent, summary) = relay(
        false,
        &[
            call(json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}})),
            call(json!({"id": "a", "function": {"name": "f", "arguments": "}"}})),
            call(json!({"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}})),
            call(json!({"function": {"arguments": "{}"}})),
            delta(json!({}), json!("stop")),
        ],
    );
    let calls: Vec<&Value> = sent
        .iter()
        .take(4)
        .map(|c| &c["choices"][0]["delta"]["tool_calls"][0])
        .collect();
    assert_eq!(calls[0]["index"], 0);
    assert_eq!(*calls[1], json!({"function": {"arguments": "}"}, "index": 0}));
    assert_eq!((&calls[2]["index"], &calls[2]["id"]), (&json!(1), &json!("b")));
    assert_eq!(calls[3]["index"], 1);
    assert_eq!(sent[4]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(summary.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(summary.finished_choices, 1);
}

#[test]
fn errors_inside_the_stream_and_malformed_chunks_end_it() {
    let mut relay = StreamRelay::new(false);
    assert!(matches!(
        relay.take(r#"{"error":{"message":"x"}}"#),
        Err(RelayError::InBand)
    ));
    assert!(matches!(relay.take("hello"), Err(RelayError::Malformed)));
    assert!(matches!(
        relay.take(r#"{"choices":[{"index":99999,"delta":{}}]}"#),
        Err(RelayError::Malformed)
    ));
    assert!(relay.take(r#"{"error":null,"choices":[]}"#).unwrap().is_some());
}
