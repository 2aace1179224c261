use counterfoil_events::completion::FailureCode;
use serde_json::json;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::memory::Record;
use super::support::{Bench, Got, question};

const ANSWER: &str = r#"{"id":"a","object":"chat.completion","created":1,"model":"real-up","service_tier":"x","choices":[{"index":0,"message":{"role":"assistant","content":"12345678"},"finish_reason":"stop"}]}"#;

async fn asked(answer: ResponseTemplate) -> (Bench, Got, MockServer) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let bench = Bench::with_upstream(&server.uri()).await;
    let got = bench.ask(&question("up", "Hello")).await;
    (bench, got, server)
}

fn failed(bench: &Bench) -> (FailureCode, Option<u16>, u32, bool) {
    let Record::Failed(failed) = bench.log.last() else {
        panic!("not failed")
    };
    (
        failed.code,
        failed.provider_status,
        failed.usage.output_tokens,
        failed.usage.estimated,
    )
}

#[tokio::test]
async fn an_answer_without_usage_passes_as_it_came_and_is_settled_by_estimate() {
    let (bench, got, _server) =
        asked(ResponseTemplate::new(200).set_body_raw(ANSWER, "application/json")).await;
    assert_eq!(got.text, ANSWER);
    let Record::Settled(settled) = bench.log.last() else {
        panic!("not settled")
    };
    assert_eq!((settled.usage.output_tokens, settled.usage.estimated), (2, true));
}

#[tokio::test]
async fn a_refused_parameter_is_the_callers_to_see() {
    let refusal = json!({"error": {"message": "Bad temperature.", "param": "temperature", "code": "bad"}});
    let (bench, got, _server) = asked(ResponseTemplate::new(400).set_body_json(refusal)).await;
    assert_eq!(got.error(), "400 invalid_request_error bad");
    assert_eq!(got.json()["error"]["param"], "temperature");
    assert_eq!(
        failed(&bench),
        (FailureCode::ProviderRejected, Some(400), 0, false)
    );
}

#[tokio::test]
async fn what_concerns_the_gateways_own_key_is_not() {
    let refusal = json!({"error": {"message": "Incorrect API key provided: sk-secret."}});
    let (bench, got, _server) = asked(ResponseTemplate::new(401).set_body_json(refusal)).await;
    assert_eq!(got.error(), "502 server_error upstream_refused_gateway");
    assert!(!got.text.contains("sk-secret"));
    assert_eq!(got.header("x-should-retry"), "false");
    assert_eq!(failed(&bench).1, Some(401));
}

#[tokio::test]
async fn a_providers_rate_limit_is_passed_on_with_its_wait() {
    let (bench, got, _server) = asked(ResponseTemplate::new(429).insert_header("retry-after", "7")).await;
    assert_eq!(got.error(), "429 rate_limit_error rate_limit_exceeded");
    assert_eq!(got.header("retry-after"), "7");
    assert_eq!(
        failed(&bench),
        (FailureCode::ProviderRateLimited, Some(429), 0, false)
    );
}

#[tokio::test]
async fn a_malformed_answer_costs_its_bound() {
    let (bench, got, _server) =
        asked(ResponseTemplate::new(200).set_body_raw("hello", "application/json")).await;
    assert_eq!(got.error(), "502 server_error upstream_malformed");
    assert_eq!(
        failed(&bench),
        (FailureCode::ProviderAnswerMalformed, None, 100, true)
    );
}
