//! Tests of the policy engine as its users meet it: publishing, deciding, and policies that mean harm.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deciding;
mod depth;
mod fixtures;
mod hostile;
mod pool;
mod publishing;

use std::sync::Arc;

use counterfoil_events::agent::RiskTier;
use counterfoil_events::policy::PolicyLayer;
use uuid::Uuid;

use super::*;

/// A policy of the given rules.
fn policy(rules: &str) -> String {
    format!("package counterfoil\n\nimport rego.v1\n\n{rules}\n")
}

/// These rules as version 1 of a layer's policy.
fn layer(layer: PolicyLayer, rules: &str) -> Arc<PolicySource> {
    Arc::new(PolicySource::new(layer, 1, policy(rules)))
}

/// These rules as the tenant's policy, under an organisation's that allows everything.
fn tenant(rules: &str) -> Vec<Arc<PolicySource>> {
    let organisation = layer(PolicyLayer::Organisation, "decision := {\"allow\": true}");
    vec![organisation, layer(PolicyLayer::Tenant, rules)]
}

/// An input that asks the model `demo` one question.
fn input() -> PolicyInput {
    input_saying("What is the capital of Peru?")
}

fn input_saying(text: &str) -> PolicyInput {
    let message = MessageInput {
        role: "user".into(),
        content: text.into(),
    };
    PolicyInput {
        tenant: TenantInput {
            id: Uuid::from_u128(1),
        },
        organisation: OrganisationInput {
            id: Uuid::from_u128(2),
        },
        agent: AgentInput {
            id: Uuid::from_u128(3),
            risk_tier: RiskTier::Limited,
            tool_scopes: vec!["search".into()],
            models: vec!["demo".into()],
        },
        request: RequestInput::new("demo".into(), text.len() as u64, vec![message]),
        time: TimeInput::at("2026-11-20T12:00:00.000000Z".parse().unwrap()),
    }
}
