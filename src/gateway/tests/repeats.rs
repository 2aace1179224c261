use serde_json::json;

use super::support::{Bench, Got, question, streamed};

#[tokio::test]
async fn the_same_key_and_body_get_the_kept_answer_and_no_second_call() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Is the claim covered?");
    let first = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    let second = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(first.text, second.text);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(
        second.header("counterfoil-position"),
        first.header("counterfoil-position")
    );
    assert_eq!(bench.log.names(), ["authorized", "settled"]);
}

#[tokio::test]
async fn a_streamed_answer_is_kept_as_well() {
    let bench = Bench::start().await;
    let body = streamed("demo-small", "Is the claim covered?");
    let first = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    let second = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    assert_eq!(second.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(first.text, second.text);
    assert_eq!(second.events().last(), Some(&"[DONE]"));
    assert_eq!(bench.log.names(), ["authorized", "settled"]);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let bench = Bench::start().await;
    let ask = async |content: &str| {
        let body = question("demo-small", content);
        Got::read(bench.request(&body).header("idempotency-key", "k-1")).await
    };
    assert_eq!(ask("one").await.status, 200);
    let got = ask("two").await;
    assert_eq!(got.error(), "422 invalid_request_error idempotency_key_mismatch");
    assert_eq!(got.header("x-should-retry"), "false");
}

#[tokio::test]
async fn a_call_that_ended_without_a_kept_answer_says_where_it_stands() {
    let bench = Bench::with_upstream("http://127.0.0.1:1").await;
    let body = question("up", "Hello");
    let first = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    assert_eq!(first.error(), "502 server_error upstream_unreachable");
    let second = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    assert_eq!(second.error(), "409 invalid_request_error idempotency_key_used");
    assert_eq!(
        second.header("counterfoil-position"),
        format!("{}:1", bench.tenant)
    );
    assert_eq!(second.header("x-should-retry"), "false");
    assert_eq!(bench.log.names(), ["authorized", "failed"]);
}

#[tokio::test]
async fn a_call_under_way_is_not_made_twice() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = Bench::with_upstream(&format!("http://{}", listener.local_addr().unwrap())).await;
    let body = question("up", "Hello");
    let request = bench.request(&body).header("idempotency-key", "k-1");
    let first = tokio::spawn(async move { request.send().await.map(|_| ()) });
    // The provider has the call once it has a connection.
    let (_connection, _) = listener.accept().await.unwrap();
    let second = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    assert_eq!(second.error(), "409 invalid_request_error idempotency_key_in_use");
    assert_eq!(second.header("retry-after"), "1");
    first.abort();
}

#[tokio::test]
async fn without_a_key_every_call_is_its_own() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Hello");
    assert_eq!(bench.ask(&body).await.json()["object"], json!("chat.completion"));
    bench.ask(&body).await;
    assert_eq!(bench.log.names().len(), 4);
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_call_stands_whatever_was_decided_since() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Is the claim covered?");
    let first = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    bench.change(|identity| identity.policies.clear());
    let second = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    assert_eq!((second.status, &second.text), (200, &first.text));
    let fresh = Got::read(bench.request(&body).header("idempotency-key", "k-2")).await;
    assert_eq!(fresh.error(), "403 policy_violation policy.authz");
    bench.change(|identity| identity.standing.agent_suspended = true);
    let suspended = Got::read(bench.request(&body).header("idempotency-key", "k-1")).await;
    assert_eq!(suspended.error(), "403 permission_error agent_suspended");
}

#[tokio::test]
async fn a_repeat_between_the_ending_and_its_kept_answer_finds_the_answer() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Is the claim covered?");
    let ask = || Got::read(bench.request(&body).header("idempotency-key", "k-1"));
    let first = ask();
    let repeats = async {
        // From the very moment at which the ending is durable.
        while bench.log.names() != ["authorized", "settled"] {
            tokio::task::yield_now().await;
        }
        ask().await
    };
    let (first, second) = tokio::join!(first, repeats);
    assert_eq!((first.status, second.status), (200, 200), "{}", second.text);
    assert_eq!(first.text, second.text);
}
