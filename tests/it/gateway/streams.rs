//! Callers who leave, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::providers::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_in_mid_stream_ends_the_providers_call_and_pays_for_what_was_delivered() {
    let bench = Bench::new().await;
    let response = bench.call("slow", true).send().await.unwrap();
    let mut body = response.bytes_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&first).unwrap().contains("Hello "));
    drop(body);
    let limit = Instant::now() + Duration::from_secs(60);
    let (event_type, payload) = loop {
        let (event_type, payload) = bench.last_event().await;
        if event_type != "CompletionAuthorized" {
            break (event_type, payload);
        }
        assert!(Instant::now() < limit, "it is never settled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // One token per four bytes of what was delivered; the prompt by the same measure.
    assert_eq!(event_type, "CompletionSettled", "{payload}");
    assert_eq!(payload["usage"]["estimated"], true, "{payload}");
    assert_eq!(payload["usage"]["output_tokens"], 2, "{payload}");
    assert!(payload["response_bytes"].as_u64().unwrap() > 0, "{payload}");
    while !bench.provider.calls("slow")[0].abandoned {
        assert!(Instant::now() < limit, "the provider is still being listened to");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
