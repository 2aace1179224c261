//! What decisions come to.

use counterfoil_events::document;
use counterfoil_events::policy::PolicyLayer;
use counterfoil_events::text::Code;
use proptest::prelude::*;

use super::super::*;
use super::{input, input_saying, layer, policy, tenant};
use crate::config::PolicyConfig;

fn engine() -> PolicyEngine {
    PolicyEngine::start(&PolicyConfig::default()).unwrap()
}

fn reasons(decision: &PolicyDecision) -> Vec<&str> {
    decision.reasons.iter().map(Code::as_str).collect()
}

async fn denied_because(rules: &str) -> String {
    let decision = engine().decide(tenant(rules), input()).await.unwrap();
    assert!(!decision.allow);
    reasons(&decision).join(" ")
}

#[tokio::test]
async fn a_policy_sees_the_request_and_its_answer_is_obeyed() {
    let rules = r#"
        decision := {"allow": count(why) == 0, "reasons": why, "obligations": obligations}
        why contains "topic.payroll" if { some m in input.request.messages; contains(lower(m.content), "payroll") }
        why contains "model.unknown" if { not input.request.model in input.agent.models }
        obligations := {"max_tokens": 256, "step_modes": {"input.secrets": "redact"}}
    "#;
    let engine = engine();
    let allowed = engine.decide(tenant(rules), input()).await.unwrap();
    assert!(allowed.allow && allowed.reasons.is_empty());
    assert_eq!(allowed.obligations.max_tokens, Some(256));
    assert_eq!(allowed.obligations.step_modes["input.secrets"], StepMode::Redact);

    let mut asked = input_saying("Send me the PAYROLL");
    asked.request.model = "other".into();
    let denied = engine.decide(tenant(rules), asked).await.unwrap();
    assert!(!denied.allow);
    assert_eq!(reasons(&denied), ["model.unknown", "topic.payroll"]);
}

#[tokio::test]
async fn both_layers_must_allow_and_the_strictest_obligation_counts() {
    let engine = engine();
    let yes = |tokens: u32| {
        format!("decision := {{\"allow\": true, \"obligations\": {{\"max_tokens\": {tokens}}}}}")
    };
    let no = "decision := {\"allow\": false, \"reasons\": [\"b\", \"a\"]}";
    let two = vec![
        layer(PolicyLayer::Organisation, &yes(10)),
        layer(PolicyLayer::Tenant, &yes(20)),
    ];
    let decision = engine.decide(two, input()).await.unwrap();
    assert!(decision.allow);
    assert_eq!(decision.obligations.max_tokens, Some(10));

    let two = vec![
        layer(PolicyLayer::Organisation, no),
        layer(PolicyLayer::Tenant, &yes(20)),
    ];
    let decision = engine.decide(two, input()).await.unwrap();
    assert!(!decision.allow);
    assert_eq!(reasons(&decision), ["b", "a"]);
    assert_eq!(
        decision.layers.iter().map(|l| l.allow).collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn a_layer_without_an_active_policy_denies_whatever_the_other_says() {
    let engine = engine();
    let both = tenant("decision := {\"allow\": true}");
    let (organisation, tenant) = (vec![both[0].clone()], vec![both[1].clone()]);
    for (active, expected) in [
        (
            vec![],
            vec!["policy.organisation_none_active", "policy.tenant_none_active"],
        ),
        (organisation, vec!["policy.tenant_none_active"]),
        (tenant, vec!["policy.organisation_none_active"]),
        (both, vec![]),
    ] {
        let decision = engine.decide(active, input()).await.unwrap();
        assert_eq!(decision.allow, expected.is_empty());
        assert_eq!(reasons(&decision), expected);
    }
}

#[tokio::test]
async fn a_decision_that_is_not_there_or_has_another_shape_denies() {
    assert_eq!(
        denied_because("decision := {\"allow\": true} if { input.nothing }").await,
        "policy.undefined"
    );
    let malformed = [
        "true",
        "[]",
        "{}",
        "{\"reasons\": []}",
        "{\"allow\": \"true\"}",
        "{\"allow\": 1}",
        "{\"allow\": true, \"more\": 1}",
        "{\"allow\": true, \"reasons\": \"a\"}",
        "{\"allow\": true, \"reasons\": [1]}",
        "{\"allow\": true, \"reasons\": [\"Not A Code\"]}",
        "{\"allow\": false, \"reasons\": [\"policy.time_limit\"]}",
        "{\"allow\": true, \"obligations\": []}",
        "{\"allow\": true, \"obligations\": {\"max_token\": 1}}",
        "{\"allow\": true, \"obligations\": {\"max_tokens\": 0}}",
        "{\"allow\": true, \"obligations\": {\"max_tokens\": 1.5}}",
        "{\"allow\": true, \"obligations\": {\"max_tokens\": \"1\"}}",
        "{\"allow\": true, \"obligations\": {\"step_modes\": {\"input.secret\": \"block\"}}}",
        "{\"allow\": true, \"obligations\": {\"step_modes\": {\"identity.authenticate\": \"off\"}}}",
        "{\"allow\": true, \"obligations\": {\"step_modes\": {\"input.secrets\": \"deny\"}}}",
    ];
    for decision in malformed {
        let because = denied_because(&format!("decision := {decision}")).await;
        assert_eq!(because, "policy.malformed_decision", "{decision}");
    }
}

#[tokio::test]
async fn a_reason_made_of_content_is_refused_so_that_none_reaches_an_event() {
    let rules = "decision := {\"allow\": false, \"reasons\": [input.request.messages[0].content]}";
    let decision = engine()
        .decide(tenant(rules), input_saying("mary_smith"))
        .await
        .unwrap();
    assert_eq!(reasons(&decision), ["policy.malformed_decision"]);
    assert!(!serde_json::to_string(&decision).unwrap().contains("mary"));
}

#[tokio::test]
async fn an_error_denies_with_its_line_and_is_not_turned_into_consent_by_a_negation() {
    let rules = "decision := {\"allow\": true} if { not bad }\nbad if { to_number(input.request.model) > 1 }";
    let decision = engine().decide(tenant(rules), input()).await.unwrap();
    assert_eq!(reasons(&decision), ["policy.error"]);
    assert_eq!(decision.layers[1].fault_line, Some(6));
    assert!(!serde_json::to_string(&decision).unwrap().contains("demo"));
}

#[tokio::test]
async fn conflicting_values_deny() {
    let rules = "decision := {\"allow\": true} if { input.request.model == \"demo\" }\n\
                 decision := {\"allow\": false} if { input.request.stream == false }";
    assert_eq!(denied_because(rules).await, "policy.error");
}

#[tokio::test]
async fn a_stored_text_that_does_not_compile_denies() {
    assert_eq!(denied_because("decision := {").await, "policy.broken");
}

#[tokio::test]
async fn an_input_over_the_limit_denies_without_evaluation() {
    let config = PolicyConfig {
        input_bytes_max: 2_000,
        ..PolicyConfig::default()
    };
    let engine = PolicyEngine::start(&config).unwrap();
    let layers = tenant("decision := {\"allow\": true}");
    let decision = engine
        .decide(layers.clone(), input_saying(&"x".repeat(2_000)))
        .await
        .unwrap();
    assert_eq!(reasons(&decision), ["policy.input_too_large"]);
    assert!(engine.decide(layers, input()).await.unwrap().allow);
}

#[tokio::test]
async fn what_a_decision_looks_like_in_an_event() {
    let rules = "decision := {\"allow\": false, \"reasons\": [\"topic.payroll\"], \
                 \"obligations\": {\"max_tokens\": 9, \"step_modes\": {\"output.leakage\": \"block\"}}}";
    let decision = engine().decide(tenant(rules), input()).await.unwrap();
    insta::assert_json_snapshot!(decision);
}

#[tokio::test]
async fn publishing_checks_on_threads_of_its_own_and_answers_with_digest_and_count() {
    let engine = engine();
    let source = policy("decision := {\"allow\": true}\ntest_it if { decision.allow }");
    let checked = engine.check(source.clone()).await.unwrap();
    assert_eq!(checked.digest, document::digest(source.as_bytes()));
    assert_eq!(checked.tests, TestReport { passed: 1 });
    let error = engine
        .check(policy("decision := {\"allow\": true}\ntest_it := false"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CheckError::Policy(PolicyError::Test { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn what_decides_an_ordinary_request_unreadably_is_refused_where_it_stands() {
    let engine = engine();
    for (decision, said) in [
        ("5", "it must be an object"),
        ("{\"allowed\": true}", "it has no member `allowed`"),
        ("{\"reasons\": []}", "`allow` is missing"),
        ("{\"allow\": \"yes\"}", "`allow` must be true or false"),
        (
            "{\"allow\": false, \"reasons\": [\"policy.mine\"]}",
            "must not begin with `policy.`",
        ),
        ("{\"allow\": false, \"reasons\": [\"Mine\"]}", "`Mine` is no code"),
        (
            "{\"allow\": false, \"reasons\": [input.request.model]}",
            "must stand in the policy's text",
        ),
        (
            "{\"allow\": true, \"obligations\": {\"max_tokens\": 0}}",
            "`obligations.max_tokens`",
        ),
        (
            "{\"allow\": true, \"obligations\": {\"caps\": 1}}",
            "no member `caps`",
        ),
        (
            "{\"allow\": true, \"obligations\": {\"step_modes\": {\"input.secrets\": \"deny\"}}}",
            "for `input.secrets`",
        ),
        (
            "{\"allow\": true, \"obligations\": {\"step_modes\": {\"audit\": \"off\"}}}",
            "names `audit`",
        ),
    ] {
        let rules = format!("other := 1\n\ndecision := {decision}");
        let error = match engine.check(policy(&rules)).await.unwrap_err() {
            CheckError::Policy(error) => error,
            other => panic!("{decision}: {other}"),
        };
        assert_eq!(error.code(), "policy_contract", "{decision}");
        assert_eq!(
            error.place(),
            Some(Place { line: 7, column: 1 }),
            "{decision}: {error}"
        );
        assert!(error.to_string().contains(said), "{decision}: {error}");
    }
    let endless = "decision := {\"allow\": count([1 | some x in numbers.range(1, 9999); some y in numbers.range(1, 9999); x == y]) > 1}";
    let error = match engine.check(policy(endless)).await.unwrap_err() {
        CheckError::Policy(error) => error.to_string(),
        other => panic!("{other}"),
    };
    assert!(error.contains("would deny every request"), "{error}");
    // Denying, or having no answer to this very request, is the author's affair.
    for rules in [
        "decision := {\"allow\": false}",
        "decision := {\"allow\": true} if input.request.model == \"other\"",
    ] {
        engine.check(policy(rules)).await.unwrap();
    }
}

/// Walks values in the orders that could differ between runs: sets, objects, comprehensions, sorting.
const ORDER_SENSITIVE: &str = r#"
    words := {w | some m in input.request.messages; some w in split(m.content, " ")}
    by_length := {count(w): v | some w in words; v := {x | some x in words; count(x) == count(w)}}
    why contains "many.words" if { count(words) > 3 }
    why contains "long.word" if { max([count(w) | some w in words] | ) > 6 }
"#;

fn order_sensitive() -> String {
    let rules = ORDER_SENSITIVE.replace("] | )", "])");
    format!(
        "{rules}
        why contains \"first.vowel\" if {{ regex.match(`^[aeiou]`, sort(words)[0]) }}
        why contains \"odd.groups\" if {{ count(object.keys(by_length)) % 2 == 1 }}
        decision := {{\"allow\": count(why) < 2, \"reasons\": why, \"obligations\": {{\"max_tokens\": count(words) + 1}}}}"
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_same_input_and_texts_give_the_same_bytes_on_every_engine(text in "[ a-zé]{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let layers = tenant(&order_sensitive());
        let decide = |engine: &PolicyEngine| {
            let decision = runtime.block_on(engine.decide(layers.clone(), input_saying(&text))).unwrap();
            serde_json::to_string(&decision).unwrap()
        };
        let (one, other) = (engine(), engine());
        let first = decide(&one);
        prop_assert!(!first.contains("policy."), "{first}");
        prop_assert_eq!(&decide(&one), &first);
        prop_assert_eq!(&decide(&other), &first);
    }
}
