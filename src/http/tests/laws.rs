//! Laws of the pure parts, for any input.

use proptest::prelude::*;
use serde_json::{Value, json};
use warp::http::{HeaderMap, HeaderValue, Method};

use super::support;
use crate::http::context::{IdempotencyKey, RequestId, TraceParent, WaitFor};
use crate::http::stream::SseEvent;
use crate::http::{Cursor, Query, json_check, query::RequestQuery};

/// JSON with texts that may hold anything, U+0000 rarely.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![9 => "\\PC{0,8}", 1 => "a\u{0}b"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(entries) => entries
            .iter()
            .any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// What an SSE client makes of a stream (WHATWG HTML §9.2.6), for one event.
fn read_event(text: &str) -> (Option<String>, Option<String>, String) {
    let (mut id, mut event, mut data) = (None, None, Vec::new());
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("event", value)) => event = Some(value.to_owned()),
            Some(("data", value)) => data.push(value.to_owned()),
            _ => assert!(line.is_empty(), "{line:?}"),
        }
    }
    (id, event, data.join("\n"))
}

proptest! {
    #[test]
    fn json_is_refused_for_nul_and_for_nothing_else(value in any_json()) {
        let checked = json_check::check(value.to_string().as_bytes());
        prop_assert_eq!(checked.is_err(), has_nul(&value), "{}", value);
    }

    #[test]
    fn the_place_of_a_nul_is_where_it_stands(before in any_json(), after in any_json(), key in "[a-z~/]{1,6}") {
        prop_assume!(!has_nul(&before));
        let body = json!([before, {key.clone(): ["ok", "\0"]}, after]).to_string();
        let error = json_check::check(body.as_bytes()).unwrap_err();
        let field = &error.fields()[0].field;
        let body: Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(body.pointer(field), Some(&Value::from("\0")), "{}", field);
    }

    #[test]
    fn any_bytes_are_checked_without_a_panic_as_strictly_as_serde(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if json_check::check(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn any_path_is_found_or_refused(path in "(/[ -~]{0,6}){0,6}") {
        let _ = support::table().find(&Method::GET, &path);
    }

    #[test]
    fn any_header_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        for name in ["x-request-id", "traceparent", "idempotency-key", "counterfoil-wait-for"] {
            headers.insert(name, value.clone());
        }
        prop_assert!(RequestId::accept_or_mint(&headers).header_value().is_some());
        let _ = (IdempotencyKey::from_headers(&headers), WaitFor::from_headers(&headers));
        if let Some(trace) = TraceParent::from_headers(&headers) {
            prop_assert_eq!(trace.trace_id().len(), 32);
        }
    }

    #[test]
    fn a_traceparent_of_the_standards_form_is_taken_as_it_is(trace in 1..u128::MAX, parent in 1..u64::MAX, flags in any::<u8>()) {
        let text = format!("00-{trace:032x}-{parent:016x}-{flags:02x}");
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_str(&text).unwrap());
        let taken = TraceParent::from_headers(&headers).unwrap();
        prop_assert_eq!(taken.as_str(), text.as_str());
        prop_assert_eq!(taken.trace_id(), format!("{trace:032x}"));
    }

    #[test]
    fn a_cursor_comes_back_as_it_went(key in any::<u32>()) {
        let next = Cursor(key).encode().unwrap();
        let Query(query) = Query::<support::ListThings>::read(&format!("cursor={next}")).unwrap();
        prop_assert_eq!(query.cursor, Some(Cursor(key)));
    }

    #[test]
    fn an_event_is_read_as_it_was_sent(id in "[ -~]{1,20}", data in "([ -~é]{0,10}\n){0,3}[ -~é]{0,10}") {
        let sent = SseEvent { id: Some(id.clone()), event: Some("tick".into()), data: data.clone() };
        let text = String::from_utf8(sent.encode().to_vec()).unwrap();
        prop_assert!(text.ends_with("\n\n") && !text.trim_end_matches('\n').contains("\n\n"));
        prop_assert_eq!(read_event(&text), (Some(id), Some("tick".to_owned()), data));
    }
}
