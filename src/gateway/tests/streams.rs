use std::sync::atomic::Ordering;

use counterfoil_events::completion::{FailureCode, FinishReason};
use counterfoil_events::ids::ContentDigest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::memory::Record;
use super::support::{Bench, streamed};

const ROLE: &str = r#"{"id":"a","created":1,"model":"real-up","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const TEXT: &str =
    r#"{"id":"a","created":1,"model":"real-up","choices":[{"index":0,"delta":{"content":"12345678"}}]}"#;
const STOP: &str =
    r#"{"id":"a","created":1,"model":"real-up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"a","created":1,"model":"real-up","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;

async fn upstream(events: &[&str]) -> (MockServer, Bench) {
    let server = MockServer::start().await;
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let answer = ResponseTemplate::new(200).set_body_raw(body, "text/event-stream");
    Mock::given(method("POST"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let bench = Bench::with_upstream(&server.uri()).await;
    (server, bench)
}

#[tokio::test]
async fn a_stream_keeps_the_wires_rules_and_ends_once_it_is_settled() {
    let bench = Bench::start().await;
    let got = bench.ask(&streamed("demo-small", "Is the claim covered?")).await;
    assert_eq!(
        (got.status, got.header("content-type")),
        (200, "text/event-stream; charset=utf-8")
    );
    assert_eq!(
        (got.header("cache-control"), got.header("x-accel-buffering")),
        ("no-cache", "no")
    );
    assert_eq!(got.header("counterfoil-position"), format!("{}:1", bench.tenant));
    assert_eq!(bench.log.names(), ["authorized", "settled"]);
    let events = got.events();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    assert!(chunks.len() > 3);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["id"] == chunks[0]["id"] && chunk.get("usage").is_none())
    );
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");

    let Record::Settled(settled) = bench.log.last() else {
        panic!("not settled")
    };
    let body = got.text.strip_suffix("data: [DONE]\n\n").unwrap();
    assert_eq!(settled.response_digest, ContentDigest::of(body.as_bytes()));
    assert_eq!(settled.response_bytes as usize, body.len());
    assert!(!settled.usage.estimated && settled.usage.output_tokens > 0);
}

#[tokio::test]
async fn usage_comes_last_for_callers_who_asked() {
    let bench = Bench::start().await;
    let mut asked = streamed("demo-small", "Is the claim covered?");
    asked["stream_options"] = json!({"include_usage": true});
    let got = bench.ask(&asked).await;
    let events = got.events();
    let usage: Value = serde_json::from_str(events[events.len() - 2]).unwrap();
    assert_eq!(usage["choices"], json!([]));
    let Record::Settled(settled) = bench.log.last() else {
        panic!("not settled")
    };
    assert_eq!(usage["usage"]["completion_tokens"], settled.usage.output_tokens);
    let first: Value = serde_json::from_str(events[0]).unwrap();
    assert_eq!(first["usage"], Value::Null);
}

#[tokio::test]
async fn usage_is_always_asked_for_upstream_and_taken_out_for_others() {
    let (server, bench) = upstream(&[ROLE, TEXT, STOP, USAGE, "[DONE]"]).await;
    let got = bench.ask(&streamed("up", "Hello")).await;
    assert_eq!(got.events(), [ROLE, TEXT, STOP, "[DONE]"]);
    let sent: Value = server.received_requests().await.unwrap()[0].body_json().unwrap();
    assert_eq!(sent["stream_options"], json!({"include_usage": true}));
    assert_eq!(sent["model"], "real-up");
    let Record::Settled(settled) = bench.log.last() else {
        panic!("not settled")
    };
    assert_eq!((settled.usage.input_tokens, settled.usage.output_tokens), (9, 2));
    assert_eq!(settled.cost.to_string(), "0.000029 EUR");
}

#[tokio::test]
async fn an_unsettled_stream_ends_with_an_error_and_without_done() {
    let bench = Bench::start().await;
    bench.log.ending_fails.store(true, Ordering::SeqCst);
    let got = bench.ask(&streamed("demo-small", "Hello")).await;
    let last: Value = serde_json::from_str(got.events().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "audit_unavailable");
    assert!(!got.text.contains("[DONE]"));
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_ends_with_an_error_and_is_settled_by_estimate() {
    let (_server, bench) = upstream(&[ROLE, TEXT]).await;
    let got = bench.ask(&streamed("up", "Hello")).await;
    let events = got.events();
    assert_eq!(events[..2], [ROLE, TEXT]);
    let last: Value = serde_json::from_str(events[2]).unwrap();
    assert_eq!(last["error"]["code"], "upstream_cut");
    assert!(!got.text.contains("[DONE]"));
    let Record::Failed(failed) = bench.log.last() else {
        panic!("not failed")
    };
    assert_eq!(
        (failed.code, failed.usage.estimated),
        (FailureCode::ProviderBrokeOff, true)
    );
    // Eight bytes of answer.
    assert_eq!(failed.usage.output_tokens, 2);
}

#[tokio::test]
async fn an_error_inside_the_stream_is_passed_on_in_our_words() {
    let (_server, bench) = upstream(&[ROLE, TEXT, r#"{"error":{"message":"upstream words"}}"#]).await;
    let got = bench.ask(&streamed("up", "Hello")).await;
    let last: Value = serde_json::from_str(got.events().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "upstream_error_in_stream");
    assert!(!got.text.contains("upstream words") && !got.text.contains("[DONE]"));
}

#[tokio::test]
async fn a_server_that_hangs_up_instead_of_saying_done_has_still_answered() {
    let (_server, bench) = upstream(&[ROLE, TEXT, STOP]).await;
    let got = bench.ask(&streamed("up", "Hello")).await;
    assert_eq!(got.events(), [ROLE, TEXT, STOP, "[DONE]"]);
    let Record::Settled(settled) = bench.log.last() else {
        panic!("not settled")
    };
    assert_eq!(
        (settled.finish_reason, settled.usage.estimated),
        (FinishReason::Stop, true)
    );
}

/// An upstream that sends one chunk and then waits until it is hung up on.
async fn waiting_upstream() -> (String, tokio::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (hung_up, seen) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 65536];
        let _ = connection.read(&mut request).await;
        let chunk = format!("data: {TEXT}\n\n");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let text = format!("{head}{:x}\r\n{chunk}\r\n", chunk.len());
        connection.write_all(text.as_bytes()).await.unwrap();
        let _ = connection.read(&mut [0; 1]).await;
        let _ = hung_up.send(()).await;
    });
    (url, seen)
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_the_provider_and_what_was_used_is_settled() {
    let (url, mut hung_up) = waiting_upstream().await;
    let mut bench = Bench::with_upstream(&url).await;
    let mut response = bench.request(&streamed("up", "Hello")).send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    hung_up.recv().await.unwrap();
    bench.drain().await;
    let Record::Settled(settled) = bench.log.last() else {
        panic!("not settled: {:?}", bench.log.names())
    };
    assert_eq!(
        (settled.finish_reason, settled.usage.estimated),
        (FinishReason::ClientGone, true)
    );
    assert_eq!(settled.usage.output_tokens, 2);
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_cancels_the_provider_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut bench = Bench::with_upstream(&url).await;
    let request = bench.request(&super::support::question("up", "Hello"));
    let asking = tokio::spawn(async move { request.send().await.map(|_| ()) });
    let (mut connection, _): (TcpStream, _) = listener.accept().await.unwrap();
    let mut request = vec![0; 65536];
    assert!(connection.read(&mut request).await.unwrap() > 0);
    asking.abort();
    // The rest of the request, then the end of the connection.
    while connection.read(&mut request).await.is_ok_and(|read| read > 0) {}
    bench.drain().await;
    let Record::Failed(failed) = bench.log.last() else {
        panic!("not failed: {:?}", bench.log.names())
    };
    assert_eq!(failed.code, FailureCode::ClientGone);
    // Nobody knows what the provider did: the bound is booked, and said to be an estimate.
    assert_eq!((failed.usage.output_tokens, failed.usage.estimated), (100, true));
}

#[tokio::test]
async fn a_process_that_must_stop_ends_its_streams_with_an_error_and_records_them() {
    let (url, mut hung_up) = waiting_upstream().await;
    let mut bench = Bench::with_upstream(&url).await;
    let mut response = bench.request(&streamed("up", "Hello")).send().await.unwrap();
    let mut text = response.chunk().await.unwrap().unwrap().to_vec();
    bench.lifecycle.drain();
    bench.lifecycle.hurry();
    hung_up.recv().await.unwrap();
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r#""code":"shutting_down""#), "{text}");
    assert!(!text.contains("[DONE]"));
    bench.drain().await;
    let Record::Failed(failed) = bench.log.last() else {
        panic!("not failed: {:?}", bench.log.names())
    };
    assert_eq!(
        (failed.code, failed.usage.output_tokens, failed.usage.estimated),
        (FailureCode::ShuttingDown, 2, true)
    );
}
