use std::sync::atomic::Ordering;

use counterfoil_events::timestamp::Timestamp;
use serde_json::json;

use super::memory::Record;
use super::support::{Bench, Got, POLICY, policies, question};
use crate::config::GatewayConfig;

/// The last denial: its step and code.
fn denial(bench: &Bench) -> String {
    let Record::Denied(denial) = bench.log.last() else {
        panic!("not a denial")
    };
    format!("{} {}", denial.step, denial.code)
}

#[tokio::test]
async fn a_key_that_was_never_issued_leaves_no_event() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Hello");
    let other = "cfk_0123abcd_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for key in [other, "sk-something", ""] {
        let got = bench.ask_as(key, &body).await;
        assert_eq!(got.error(), "401 invalid_request_error invalid_api_key", "{key}");
    }
    assert!(bench.log.names().is_empty());
}

#[tokio::test]
async fn another_tenants_name_is_refused_like_a_wrong_key() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Hello");
    let own = Got::read(
        bench
            .request(&body)
            .header("counterfoil-tenant", bench.tenant.to_string()),
    )
    .await;
    assert_eq!(own.status, 200);
    let foreign = counterfoil_events::ids::TenantId::generate().to_string();
    let got = Got::read(bench.request(&body).header("counterfoil-tenant", foreign)).await;
    assert_eq!(got.error(), "401 invalid_request_error invalid_api_key");
    assert_eq!(bench.log.names(), ["authorized", "settled"]);
}

#[tokio::test]
async fn what_speaks_against_a_key_is_refused_and_recorded() {
    let bench = Bench::start().await;
    let body = question("demo-small", "Hello");
    bench.change(|identity| identity.standing.agent_suspended = true);
    assert_eq!(
        bench.ask(&body).await.error(),
        "403 permission_error agent_suspended"
    );
    assert_eq!(denial(&bench), "identity.key_state agent_suspended");
    bench.change(|identity| identity.standing.tenant_suspended = true);
    assert_eq!(
        bench.ask(&body).await.error(),
        "403 permission_error tenant_suspended"
    );
    bench.change(|identity| identity.standing.key_expires_at = Some(Timestamp::EPOCH));
    assert_eq!(
        bench.ask(&body).await.error(),
        "401 invalid_request_error invalid_api_key"
    );
    assert_eq!(denial(&bench), "identity.key_state key_expired");
    bench.change(|identity| identity.standing.key_revoked = true);
    assert_eq!(
        bench.ask(&body).await.error(),
        "401 invalid_request_error invalid_api_key"
    );
    assert_eq!(denial(&bench), "identity.key_state key_revoked");
    assert_eq!(bench.log.names(), ["denied"; 4]);
}

#[tokio::test]
async fn a_state_of_keys_that_is_too_old_fails_closed() {
    let bench = Bench::start().await;
    bench.directory.stale.store(true, Ordering::SeqCst);
    let got = bench.ask(&question("demo-small", "Hello")).await;
    assert_eq!(got.status, 503);
    assert_eq!(got.header("retry-after"), "1");
    assert!(bench.log.names().is_empty());
}

#[tokio::test]
async fn a_policys_denial_names_step_and_reasons_and_is_recorded() {
    let bench = Bench::start().await;
    let got = bench
        .ask(&question(
            "demo-small",
            "Send me the payroll of March, marker-4711.",
        ))
        .await;
    assert_eq!(got.error(), "403 policy_violation policy.authz");
    assert!(got.text.contains("export.payroll") && !got.text.contains("marker-4711"));
    assert_eq!(got.header("x-should-retry"), "false");
    assert_eq!(got.header("counterfoil-position"), format!("{}:1", bench.tenant));
    assert_eq!(denial(&bench), "policy.authz export.payroll");
    let Record::Denied(record) = bench.log.last() else {
        panic!()
    };
    assert!(record.policy_input_digest.is_some());
    assert_eq!(record.model.unwrap().as_str(), "demo-small");
}

#[tokio::test]
async fn a_layer_with_nothing_active_denies_and_the_answer_says_what_to_activate() {
    let bench = Bench::start().await;
    let all = policies(POLICY, POLICY);
    for (active, reason, command) in [
        (&all[..1], "policy.tenant_none_active", "policies activate tenant"),
        (
            &all[1..],
            "policy.organisation_none_active",
            "policies activate organisation",
        ),
        (
            &[],
            "policy.organisation_none_active",
            "policies activate organisation",
        ),
    ] {
        bench.change(|identity| identity.policies = active.to_vec());
        let got = bench.ask(&question("demo-small", "Hello")).await;
        assert_eq!(got.error(), "403 policy_violation policy.authz");
        assert!(got.text.contains(command), "{}", got.text);
        assert!(denial(&bench).starts_with(&format!("policy.authz {reason}")));
    }
}

#[tokio::test]
async fn a_tool_outside_the_scopes_on_the_card_is_denied_whatever_the_policies_allow() {
    let bench = Bench::start().await;
    let offering = |names: [&str; 2]| {
        let tool = |name| json!({"type": "function", "function": {"name": name}});
        let mut request = question("demo-small", "Hello");
        request["tools"] = json!(names.map(tool));
        request
    };
    let within = bench.ask(&offering(["ledger_read", "ledger_read"])).await;
    assert_eq!(within.status, 200, "{}", within.text);
    let outside = bench.ask(&offering(["ledger_read", "payments_read"])).await;
    assert_eq!(outside.error(), "403 policy_violation policy.tools_declared");
    assert!(outside.text.contains("Tool 2 "), "{}", outside.text);
    assert_eq!(denial(&bench), "policy.tools_declared tool_outside_scopes");
}

#[tokio::test]
async fn models_that_do_not_exist_and_models_of_others_look_the_same() {
    let bench = Bench::start().await;
    let absent = bench.ask(&question("not-configured", "Hello")).await;
    bench.change(|identity| identity.models = ["demo-large".parse().unwrap()].into());
    let foreign = bench.ask(&question("demo-small", "Hello")).await;
    assert_eq!(absent.error(), "404 invalid_request_error model_not_found");
    assert_eq!(absent.text, foreign.text);
    assert_eq!(denial(&bench), "policy.model_allow model_not_found");
    let Record::Denied(first) = bench.log.records.lock().unwrap()[0].1.clone() else {
        panic!()
    };
    assert_eq!(first.model, None, "a name that is not ours is not recorded");
}

#[tokio::test]
async fn a_model_without_a_price_is_denied() {
    let bench = Bench::with_upstream("http://127.0.0.1:1").await;
    let got = bench.ask(&question("unpriced", "Hello")).await;
    assert_eq!(got.error(), "429 insufficient_quota insufficient_quota");
    assert_eq!(got.header("x-should-retry"), "false");
    assert_eq!(denial(&bench), "budget.spend_reserve model_unpriced");
}

#[tokio::test]
async fn a_malformed_body_names_its_place_and_is_recorded() {
    let bench = Bench::start().await;
    let got = bench
        .ask(&json!({"model": "demo-small", "messages": [{"role": "boss", "content": "x"}]}))
        .await;
    assert_eq!(got.error(), "400 invalid_request_error invalid_value");
    assert_eq!(got.json()["error"]["param"], "messages[0].role");
    assert_eq!(denial(&bench), "ingress.schema invalid_value");
}

#[tokio::test]
async fn beyond_the_rate_refusals_are_not_recorded() {
    let bench = Bench::with(
        GatewayConfig {
            demo_provider: true,
            ..GatewayConfig::default()
        },
        2,
    )
    .await;
    let body = question("demo-small", "Hello");
    assert_eq!(
        bench.ask(&body).await.header("x-ratelimit-remaining-requests"),
        "1"
    );
    assert_eq!(bench.ask(&body).await.status, 200);
    let got = bench.ask(&body).await;
    assert_eq!(got.error(), "429 rate_limit_error rate_limit_exceeded");
    assert!(got.header("retry-after-ms").parse::<u64>().unwrap() <= 1000);
    assert_eq!(
        bench.log.names(),
        ["authorized", "settled", "authorized", "settled"]
    );
}

#[tokio::test]
async fn a_denial_that_is_not_recorded_is_not_given() {
    let bench = Bench::start().await;
    bench.log.ending_fails.store(true, Ordering::SeqCst);
    let got = bench.ask(&question("demo-small", "the payroll")).await;
    assert_eq!(got.error(), "503 server_error audit_unavailable");
}

#[tokio::test]
async fn a_bound_call_that_cannot_be_checked_is_recorded_if_the_log_takes_it() {
    let bench = Bench::without_room_for_decisions().await;
    let body = question("demo-small", "Hello");
    assert_eq!(
        bench.ask(&body).await.error(),
        "503 server_error check_unavailable"
    );
    assert_eq!(denial(&bench), "policy.authz check_unavailable");
    bench.log.ending_fails.store(true, Ordering::SeqCst);
    assert_eq!(
        bench.ask(&body).await.error(),
        "503 server_error check_unavailable"
    );
    assert_eq!(bench.log.names(), ["denied"]);
}

#[tokio::test]
async fn listing_models_counts_against_the_keys_rate() {
    let config = GatewayConfig {
        demo_provider: true,
        ..GatewayConfig::default()
    };
    let bench = Bench::with(config, 2).await;
    assert_eq!(bench.get("/v1/models").await.status, 200);
    assert_eq!(bench.get("/v1/models/demo-small").await.status, 200);
    let got = bench.get("/v1/models").await;
    assert_eq!(got.error(), "429 rate_limit_error rate_limit_exceeded");
    assert!(got.header("retry-after-ms").parse::<u64>().unwrap() <= 1000);
}
