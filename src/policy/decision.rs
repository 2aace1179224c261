//! What a policy answers, what the layers make of it together, and the codes for when there is no answer.
//!
//! `docs/policy-contract.md` describes both for authors; `docs/schemas/policy-decision.json` is generated from
//! [`RegoDecision`]. A decision holds codes, digests and numbers only, so that it can go into an event as it is.

use std::collections::BTreeMap;

use counterfoil_events::ids::PolicyInputDigest;
use counterfoil_events::policy::{PolicyLayer, PolicyRef};
use counterfoil_events::text::Code;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most reasons that one policy may give: a decision has to fit its event.
pub const MAX_REASONS: usize = 16;
/// Largest token cap that means anything; no model comes near it.
pub const MAX_TOKENS_CAP: u64 = 100_000_000;

/// Begins the reasons that are the engine's own; a policy's reasons may not.
pub const RESERVED_PREFIX: &str = "policy.";

/// Why there is no usable answer. Each of them denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// The organisation has no active policy.
    NoOrganisationPolicy,
    /// The tenant has no active policy.
    NoTenantPolicy,
    /// The policy denied and gave no reason of its own.
    Denied,
    /// `decision` has no value for this input.
    Undefined,
    /// `decision` has a value of the wrong shape.
    MalformedDecision,
    /// Evaluation ended in an error.
    Error,
    /// Evaluation took longer than it may.
    TimeLimit,
    /// Evaluation built more than it may.
    MemoryLimit,
    /// The input document is larger than a policy is given.
    InputTooLarge,
    /// The stored text does not compile.
    Broken,
}

impl Fault {
    /// The layer has nothing active.
    #[must_use]
    pub const fn none_active(layer: PolicyLayer) -> Self {
        match layer {
            PolicyLayer::Organisation => Self::NoOrganisationPolicy,
            PolicyLayer::Tenant => Self::NoTenantPolicy,
        }
    }

    /// The reason code that stands for it, in decisions and events.
    #[must_use]
    pub const fn reason(self) -> Code {
        match self {
            Self::NoOrganisationPolicy => Code::literal("policy.organisation_none_active"),
            Self::NoTenantPolicy => Code::literal("policy.tenant_none_active"),
            Self::Denied => Code::literal("policy.denied"),
            Self::Undefined => Code::literal("policy.undefined"),
            Self::MalformedDecision => Code::literal("policy.malformed_decision"),
            Self::Error => Code::literal("policy.error"),
            Self::TimeLimit => Code::literal("policy.time_limit"),
            Self::MemoryLimit => Code::literal("policy.memory_limit"),
            Self::InputTooLarge => Code::literal("policy.input_too_large"),
            Self::Broken => Code::literal("policy.broken"),
        }
    }
}

/// What a gateway step does with a finding, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepMode {
    /// The step does not run.
    Off,
    /// It runs; its verdict is recorded and has no effect.
    Shadow,
    /// The verdict is recorded and marks the completion.
    Flag,
    /// What was found is taken out.
    Redact,
    /// The completion is denied.
    Block,
}

/// The steps whose mode a policy may set: those that inspect content, in the order of the pipeline. Identity,
/// policy, budget and audit steps are not for a policy to switch off.
pub const STEERABLE_STEPS: [&str; 16] = [
    "input.unicode_smuggling",
    "input.encoded_payload",
    "input.template_forgery",
    "input.injection_lexicon",
    "input.secrets",
    "input.pii_financial",
    "input.pii_national_id",
    "input.pii_contact",
    "input.attachments",
    "input.deny_terms",
    "output.secrets_pii",
    "output.exfil_links",
    "output.active_content",
    "output.tool_calls",
    "output.contract",
    "output.leakage",
];

/// What the gateway has to do if it goes ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Obligations {
    /// Cap on output tokens; the caller's own cap stands where it is lower.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cap_schema")]
    pub max_tokens: Option<u64>,
    /// Modes of later steps, by step id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = { "enum": STEERABLE_STEPS }))]
    pub step_modes: BTreeMap<String, StepMode>,
}

fn cap_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_TOKENS_CAP })
}

/// What `data.counterfoil.decision` has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegoDecision {
    /// Whether the completion may go ahead.
    pub allow: bool,
    /// Why, as codes that stand in the policy's own text. A set or an array in Rego.
    #[serde(default)]
    #[schemars(extend("maxItems" = MAX_REASONS))]
    pub reasons: Vec<Code>,
    /// What the gateway has to do if it goes ahead.
    #[serde(default)]
    pub obligations: Obligations,
}

/// What one layer's policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerDecision {
    /// Whose policy, which version of it, and its text's digest.
    pub policy: PolicyRef,
    /// Whether it allows.
    pub allow: bool,
    /// Why, in the policy's order.
    pub reasons: Vec<Code>,
    /// What it demands.
    pub obligations: Obligations,
    /// Where in the policy evaluation ended, if it ended in an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_line: Option<u32>,
}

impl LayerDecision {
    /// A denial because there is no usable answer.
    #[must_use]
    pub fn fault(policy: PolicyRef, fault: Fault, line: Option<u32>) -> Self {
        Self {
            policy,
            allow: false,
            reasons: vec![fault.reason()],
            obligations: Obligations::default(),
            fault_line: line,
        }
    }

    /// What a policy's well-formed answer means.
    #[must_use]
    pub fn answered(policy: PolicyRef, answer: RegoDecision) -> Self {
        let mut reasons = answer.reasons;
        if !answer.allow && reasons.is_empty() {
            reasons.push(Fault::Denied.reason());
        }
        Self {
            policy,
            allow: answer.allow,
            reasons,
            obligations: answer.obligations,
            fault_line: None,
        }
    }
}

/// What all layers decided together: what the gateway obeys and the event records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyDecision {
    /// Whether the completion may go ahead.
    pub allow: bool,
    /// Why: the layers' reasons, one layer after the other, each once.
    pub reasons: Vec<Code>,
    /// The strictest of what the layers demand.
    pub obligations: Obligations,
    /// Each layer's own decision.
    pub layers: Vec<LayerDecision>,
    /// What was decided upon.
    pub input_digest: PolicyInputDigest,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use counterfoil_events::ids::DocumentDigest;

    use super::*;

    #[test]
    fn every_fault_has_a_reason_of_its_own_under_the_reserved_prefix() {
        let faults = [
            Fault::NoOrganisationPolicy,
            Fault::NoTenantPolicy,
            Fault::Denied,
            Fault::Undefined,
            Fault::MalformedDecision,
            Fault::Error,
            Fault::TimeLimit,
            Fault::MemoryLimit,
            Fault::InputTooLarge,
            Fault::Broken,
        ];
        let codes: std::collections::BTreeSet<_> = faults.iter().map(|f| f.reason()).collect();
        assert_eq!(codes.len(), faults.len());
        assert!(
            codes
                .iter()
                .all(|code| code.as_str().starts_with(RESERVED_PREFIX))
        );
    }

    #[test]
    fn a_denial_without_a_reason_gets_one() {
        let answer = RegoDecision {
            allow: false,
            reasons: vec![],
            obligations: Obligations::default(),
        };
        let policy = PolicyRef {
            layer: PolicyLayer::Tenant,
            version: 1,
            digest: DocumentDigest([0; 32]),
        };
        let decision = LayerDecision::answered(policy, answer);
        assert_eq!(decision.reasons, [Fault::Denied.reason()]);
    }

    #[test]
    fn modes_are_ordered_from_mild_to_strict() {
        use StepMode::{Block, Flag, Off, Redact, Shadow};
        assert!(Off < Shadow && Shadow < Flag && Flag < Redact && Redact < Block);
    }
}
