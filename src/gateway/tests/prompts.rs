//! The demo's prompts do under the demo's policies what `fixtures/prompts.jsonl` says.

use std::collections::BTreeMap;

use counterfoil_events::agent::SpecCard;
use serde::Deserialize;
use serde_json::Value;

use super::support::{Bench, policies};

const PROMPTS: &str = include_str!("../../../fixtures/prompts.jsonl");
const AGENTS: &str = include_str!("../../../fixtures/prompts.agents.json");
const ORGANISATION: &str = include_str!("../../../fixtures/policies/organisation.rego");
const BEFORE: &str = include_str!("../../../fixtures/policies/tenant-v1.rego");
const AFTER: &str = include_str!("../../../fixtures/policies/tenant-v2.rego");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompt {
    id: String,
    agent: String,
    expect: String,
    reason: Option<String>,
    expect_after_change: Option<String>,
    reason_after_change: Option<String>,
    request: Value,
}

fn prompts() -> Vec<Prompt> {
    PROMPTS
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// Sends every prompt as its agent and compares what comes with what is expected.
async fn send_all(tenant_policy: &str, expected: impl Fn(&Prompt) -> (String, Option<String>)) {
    let agents: BTreeMap<String, SpecCard> = serde_json::from_str(AGENTS).unwrap();
    let bench = Bench::start().await;
    bench.change(|identity| identity.policies = policies(ORGANISATION, tenant_policy));
    for prompt in prompts() {
        let card = agents[&prompt.agent].clone();
        bench.change(|identity| {
            identity.models = card.models.iter().cloned().collect();
            identity.tool_scopes = card.tool_scopes.iter().cloned().collect();
            identity.risk_tier = card.risk_tier;
        });
        let got = bench.ask(&prompt.request).await;
        let (outcome, reason) = expected(&prompt);
        match outcome.as_str() {
            "settled" => assert_eq!(got.status, 200, "{}: {}", prompt.id, got.text),
            "denied" => {
                assert_eq!(got.error(), "403 policy_violation policy.authz", "{}", prompt.id);
                assert!(got.text.contains(&reason.unwrap()), "{}: {}", prompt.id, got.text);
            }
            other => panic!("{}: no such outcome: {other}", prompt.id),
        }
    }
}

#[tokio::test]
async fn the_demos_prompts_do_what_they_say_before_the_policy_changes() {
    send_all(BEFORE, |prompt| (prompt.expect.clone(), prompt.reason.clone())).await;
}

#[tokio::test]
async fn the_demos_prompts_do_what_they_say_after_the_policy_changes() {
    send_all(AFTER, |prompt| {
        let outcome = prompt
            .expect_after_change
            .clone()
            .unwrap_or_else(|| prompt.expect.clone());
        (
            outcome,
            prompt
                .reason_after_change
                .clone()
                .or_else(|| prompt.reason.clone()),
        )
    })
    .await;
}

#[test]
fn there_are_many_varied_prompts_and_the_change_matters_on_both_sides_of_the_middle() {
    let prompts = prompts();
    let count = |holds: &dyn Fn(&Prompt) -> bool| prompts.iter().filter(|prompt| holds(prompt)).count();
    assert!(prompts.len() >= 100);
    assert!(count(&|prompt| prompt.expect == "denied") >= 15);
    assert!(count(&|prompt| prompt.request["stream"] == true) >= 30);
    assert!(count(&|prompt| prompt.request.get("tools").is_some()) >= 15);
    let middle = prompts.len() / 2;
    let changed = |half: &[Prompt]| half.iter().any(|prompt| prompt.expect_after_change.is_some());
    assert!(changed(&prompts[..middle]) && changed(&prompts[middle..]));
}
