use std::sync::atomic::Ordering;

use counterfoil_events::completion::{FinishReason, Verdict};
use counterfoil_events::ids::ContentDigest;

use super::memory::Record;
use super::support::{Bench, question};

#[tokio::test]
async fn an_answer_comes_with_its_two_events_and_headers() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Is the claim covered?");
    let got = bench.ask(&body).await;
    assert_eq!(
        (got.status, got.header("content-type")),
        (200, "application/json")
    );
    assert_eq!(bench.log.names(), ["authorized", "settled"]);
    assert_eq!(got.header("counterfoil-position"), format!("{}:2", bench.tenant));
    assert_eq!(got.header("counterfoil-model"), "demo-small");
    assert_eq!(got.header("counterfoil-provider"), "demo");
    assert_eq!(got.header("counterfoil-attempts"), "1");
    assert!(got.header("counterfoil-policy").starts_with("organisation;v=3;"));
    assert!(got.header("openai-processing-ms").parse::<u64>().is_ok());
    assert!(!got.header("x-request-id").is_empty());
    assert_eq!(got.header("x-ratelimit-limit-requests"), "600");

    let Record::Settled(settled) = bench.log.last() else {
        panic!("not settled")
    };
    assert_eq!(settled.response_digest, ContentDigest::of(got.text.as_bytes()));
    assert_eq!(settled.response_bytes as usize, got.text.len());
    assert_eq!(settled.finish_reason, FinishReason::Stop);
    let usage = &got.json()["usage"];
    assert_eq!(usage["prompt_tokens"], settled.usage.input_tokens);
    assert_eq!(usage["completion_tokens"], settled.usage.output_tokens);
    assert!(!settled.usage.estimated && settled.cost.micros.0 > 0);
    assert_eq!(
        settled
            .verdicts
            .iter()
            .map(|v| v.step.as_str())
            .collect::<Vec<_>>(),
        ["accounting.settle"]
    );
}

#[tokio::test]
async fn the_authorisation_says_what_was_decided_and_what_it_may_cost() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Is the claim covered?");
    bench.ask(&body).await;
    let records = bench.log.records.lock().unwrap();
    let (Record::Authorized(authorized), Record::Settled(settled)) = (&records[0].1, &records[1].1) else {
        panic!()
    };
    assert_eq!(
        authorized.request_digest,
        ContentDigest::of(body.to_string().as_bytes())
    );
    assert_eq!(authorized.policies.len(), 2);
    assert_eq!(authorized.price.id.as_str(), "demo-small-2026");
    assert!(settled.cost.micros <= authorized.max_cost.micros);
    assert!(settled.usage.input_tokens <= authorized.input_tokens_bound);
    let steps: Vec<&str> = authorized
        .verdicts
        .iter()
        .map(|verdict| verdict.step.as_str())
        .collect();
    assert_eq!(
        steps,
        [
            "identity.authenticate",
            "identity.tenant_bind",
            "identity.key_state",
            "budget.rpm",
            "ingress.schema",
            "policy.authz",
            "policy.model_allow",
            "policy.tools_declared",
            "policy.param_caps",
            "budget.spend_reserve",
            "routing.vault_key",
        ]
    );
    assert!(
        authorized
            .verdicts
            .iter()
            .all(|verdict| verdict.verdict == Verdict::Pass)
    );
}

#[tokio::test]
async fn a_policys_cap_holds_where_the_caller_asks_for_more_or_nothing() {
    let bench = Bench::start().await;
    let mut asked = question("demo-large", "Summarise the report.");
    assert_eq!(bench.ask(&asked).await.json()["usage"]["completion_tokens"], 8);
    asked["max_tokens"] = 5000.into();
    assert_eq!(bench.ask(&asked).await.json()["usage"]["completion_tokens"], 8);
    asked["max_tokens"] = 3.into();
    assert_eq!(bench.ask(&asked).await.json()["usage"]["completion_tokens"], 3);
    let verdict_of_caps = |at: usize| {
        let Record::Authorized(record) = bench.log.records.lock().unwrap()[at].1.clone() else {
            panic!()
        };
        let mut verdicts = record.verdicts.iter();
        let of_caps = verdicts.find(|verdict| verdict.step.as_str() == "policy.param_caps");
        (record.output_tokens_cap, of_caps.unwrap().verdict)
    };
    assert_eq!(verdict_of_caps(0), (8, Verdict::Redact));
    assert_eq!(verdict_of_caps(2), (8, Verdict::Redact));
    assert_eq!(verdict_of_caps(4), (3, Verdict::Pass));
}

#[tokio::test]
async fn no_audit_no_call() {
    let bench = Bench::start().await;
    bench.log.authorising_fails.store(true, Ordering::SeqCst);
    let got = bench.ask(&question("demo-small", "Hello")).await;
    assert_eq!(got.error(), "503 server_error audit_unavailable");
    assert_eq!(got.header("retry-after"), "1");
    assert!(bench.log.names().is_empty());
}

#[tokio::test]
async fn the_body_is_withheld_when_the_settlement_is_not_durable() {
    let bench = Bench::start().await;
    bench.log.ending_fails.store(true, Ordering::SeqCst);
    let got = bench.ask(&question("demo-small", "Hello")).await;
    assert_eq!(got.error(), "503 server_error audit_unavailable");
    assert_eq!(bench.log.names(), ["authorized"]);
}

#[tokio::test]
async fn a_caller_is_told_when_it_is_not_known_whether_the_log_took_the_call() {
    let bench = Bench::start().await;
    bench.log.outcome_is_unknown.store(true, Ordering::SeqCst);
    bench.log.authorising_fails.store(true, Ordering::SeqCst);
    let got = bench.ask(&question("demo-small", "Hello")).await;
    assert_eq!(got.error(), "503 server_error outcome_unknown");
    bench.log.authorising_fails.store(false, Ordering::SeqCst);
    bench.log.ending_fails.store(true, Ordering::SeqCst);
    let got = bench.ask(&question("demo-small", "Hello")).await;
    assert_eq!(got.error(), "503 server_error outcome_unknown");
}
