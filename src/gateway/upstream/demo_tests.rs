#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::Arc;

use futures::TryStreamExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::gateway::tokens as bounds;
use crate::gateway::upstream::demo_text::DISCLOSURE;
use crate::gateway::wire::relay::StreamRelay;

fn call(body: &Value) -> ProviderCall {
    let bytes = Bytes::from(body.to_string());
    let request = ChatRequest::parse(&bytes).unwrap();
    ProviderCall {
        body: bytes,
        upstream_model: request.model.clone(),
        max_tokens: request.max_tokens.map_or(4096, |(_, limit)| limit),
        request: Arc::new(request),
        request_id: "r".into(),
        traceparent: None,
        created: 1_700_000_000,
        authorization: None,
        attempts: Default::default(),
    }
}

fn whole(body: &Value) -> ChatCompletion {
    let answered = DemoProvider.call(call(body)).now_or_never().unwrap().unwrap();
    let Answer::Whole { body, completion } = answered.answer else {
        panic!("a stream")
    };
    assert_eq!(
        serde_json::from_slice::<ChatCompletion>(&body).unwrap(),
        completion
    );
    completion
}

fn events(body: &Value) -> Vec<String> {
    let answered = DemoProvider.call(call(body)).now_or_never().unwrap().unwrap();
    let Answer::Stream(stream) = answered.answer else {
        panic!("whole")
    };
    stream.try_collect().now_or_never().unwrap().unwrap()
}

fn body(content: &str) -> Value {
    json!({"model": "demo-small", "messages": [{"role": "user", "content": content}]})
}

#[test]
fn the_same_question_gets_the_same_words_and_other_questions_others() {
    let answers: Vec<String> = [
        "claim A",
        "claim B",
        "claim C",
        "claim D",
        "an invoice",
        "a study",
        "hello",
    ]
    .iter()
    .map(|question| whole(&body(question)).choices[0].message.content.clone().unwrap())
    .collect();
    assert!(answers.iter().all(|answer| answer.starts_with(DISCLOSURE)));
    assert_eq!(whole(&body("claim A")), whole(&body("claim A")));
    let distinct: std::collections::BTreeSet<&String> = answers.iter().collect();
    assert!(distinct.len() >= 5, "{distinct:#?}");
}

#[test]
fn streamed_and_whole_answers_say_the_same() {
    let mut asked = body("Please reconcile the payments of March.");
    let answer = whole(&asked);
    asked["stream"] = json!(true);
    let events = events(&asked);
    assert!(events.len() > 5);
    let mut relay = StreamRelay::new(false);
    let mut text = String::new();
    for event in &events {
        if let Some(sent) = relay.take(event).unwrap() {
            assert_eq!(sent, *event, "nothing is to be mended");
            let chunk: Value = serde_json::from_str(&sent).unwrap();
            text += chunk
                .pointer("/choices/0/delta/content")
                .and_then(Value::as_str)
                .unwrap_or("");
        }
    }
    assert_eq!(Some(&text), answer.choices[0].message.content.as_ref());
    assert_eq!(relay.summary().usage, answer.usage);
    assert_eq!(relay.summary().finish_reason.as_deref(), Some("stop"));
}

#[test]
fn a_declared_tool_is_called_once_with_arguments_of_its_schema() {
    let mut asked = body("Find open items.");
    asked["tools"] = json!([{"type": "function", "function": {"name": "find_items", "parameters": {
        "type": "object", "required": ["since", "status", "limit"], "properties": {
            "since": {"type": "string", "format": "date"}, "status": {"enum": ["open"]},
            "limit": {"type": "integer", "minimum": 10}, "optional": {"type": "string"}}}}}]);
    let choice = whole(&asked).choices.remove(0);
    assert_eq!(choice.finish_reason.as_deref(), Some("tool_calls"));
    let call = &choice.message.tool_calls[0];
    assert_eq!(call.function.name, "find_items");
    let arguments: Value = serde_json::from_str(&call.function.arguments).unwrap();
    assert_eq!(
        arguments,
        json!({"since": "2026-01-31", "status": "open", "limit": 10})
    );

    asked["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": call.function}]}),
        json!({"role": "tool", "tool_call_id": call.id, "content": "none"}),
    ]);
    assert_eq!(whole(&asked).choices[0].finish_reason.as_deref(), Some("stop"));
}

#[test]
fn streamed_tool_calls_keep_the_wires_rules() {
    let mut asked = body("Find open items.");
    asked["stream"] = json!(true);
    asked["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": {
        "type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}}}]);
    let events = events(&asked);
    let mut relay = StreamRelay::new(false);
    for event in &events {
        let sent = relay.take(event).unwrap();
        assert!(sent.is_none_or(|sent| sent == *event), "nothing is to be mended");
    }
    assert_eq!(relay.summary().finish_reason.as_deref(), Some("tool_calls"));
}

#[test]
fn limits_stops_choices_and_formats_are_honoured() {
    let mut asked = body("Summarise the report.");
    asked["max_tokens"] = json!(7);
    let answer = whole(&asked);
    assert_eq!(answer.usage.unwrap().completion_tokens, 7);
    assert_eq!(answer.choices[0].finish_reason.as_deref(), Some("length"));

    let mut asked = body("Summarise the report.");
    asked["stop"] = json!([" no model"]);
    assert_eq!(
        whole(&asked).choices[0].message.content.as_deref(),
        Some("Demo provider,")
    );

    let mut asked = body("Summarise the report.");
    asked["n"] = json!(3);
    let texts: std::collections::BTreeSet<_> = whole(&asked)
        .choices
        .into_iter()
        .map(|c| c.message.content)
        .collect();
    assert_eq!(texts.len(), 3);

    let mut asked = body("Summarise the report.");
    asked["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {
        "type": "object", "properties": {"ok": {"type": "boolean"}, "rows": {"type": "array", "items": {"type": "integer"}}}}}});
    let text = whole(&asked).choices[0].message.content.clone().unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value["ok"].is_boolean() && value["rows"][0].is_u64());
}

proptest! {
    #[test]
    fn usage_stays_within_the_upper_bounds(texts in proptest::collection::vec(".{0,60}", 1..4), limit in 1u64..50, n in 1u32..4) {
        let messages: Vec<Value> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let asked = json!({"model": "m", "messages": messages, "max_tokens": limit, "n": n});
        let usage = whole(&asked).usage.unwrap();
        prop_assert!(usage.prompt_tokens <= bounds::prompt_upper_bound(asked.to_string().len() as u64, 0, u64::MAX));
        prop_assert!(usage.completion_tokens <= bounds::completion_upper_bound(Some(limit), n, 4096));
    }

    #[test]
    fn tokens_and_chunks_join_to_the_text(text in ".{0,80}") {
        prop_assert_eq!(tokens(&text).concat(), text.clone());
        prop_assert_eq!(chunks(&text).concat(), text);
    }
}
