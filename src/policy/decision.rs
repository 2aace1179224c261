//! What a policy answers, what the layers make of it together, and the codes for when there is no answer.
//!
//! `docs/policy-contract.md` describes both for authors; `docs/schemas/policy-decision.json` is generated from
//! [`RegoDecision`]. A decision holds codes, digests and numbers only, so that it can go into an event as it is.

use std::collections::BTreeMap;
use std::fmt;

use counterfoil_events::ids::DocumentDigest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::InputDigest;

/// Most reasons that one policy may give: a decision has to fit its event.
pub const MAX_REASONS: usize = 16;
/// Longest reason code.
pub const MAX_REASON_BYTES: usize = 64;
/// Largest token cap that means anything; no model comes near it.
pub const MAX_TOKENS_CAP: u64 = 100_000_000;

/// Who wrote a policy. Layers are asked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The organisation, for all its tenants.
    Organisation,
    /// The tenant, for itself.
    Tenant,
}

/// A stable code that says why: lower-case words joined by `_` and `.`, such as `model.not_for_risk_tier`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("maxLength" = MAX_REASON_BYTES, "pattern" = r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$"))]
pub struct ReasonCode(String);

/// A text that is not a reason code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reason is at most {MAX_REASON_BYTES} of a-z, 0-9, _ and . (such as tools.not_permitted)")]
pub struct NotAReasonCode;

impl TryFrom<String> for ReasonCode {
    type Error = NotAReasonCode;
    fn try_from(text: String) -> Result<Self, NotAReasonCode> {
        let word = |w: &str| {
            !w.is_empty()
                && w.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let starts_with_letter = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if starts_with_letter && text.len() <= MAX_REASON_BYTES && text.split('.').all(word) {
            Ok(Self(text))
        } else {
            Err(NotAReasonCode)
        }
    }
}

impl ReasonCode {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no usable answer. Each of them denies; the prefix `policy.` is kept for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// Neither the organisation nor the tenant has an active policy.
    NoneActive,
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
    /// The reason code that stands for it, in decisions and events.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        ReasonCode(self.code().to_owned())
    }

    /// The reason code's text.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoneActive => "policy.none_active",
            Self::Denied => "policy.denied",
            Self::Undefined => "policy.undefined",
            Self::MalformedDecision => "policy.malformed_decision",
            Self::Error => "policy.error",
            Self::TimeLimit => "policy.time_limit",
            Self::MemoryLimit => "policy.memory_limit",
            Self::InputTooLarge => "policy.input_too_large",
            Self::Broken => "policy.broken",
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
    pub reasons: Vec<ReasonCode>,
    /// What the gateway has to do if it goes ahead.
    #[serde(default)]
    pub obligations: Obligations,
}

/// What one layer's policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerDecision {
    /// Whose policy.
    pub layer: Layer,
    /// Which text: the address of the policy's document.
    pub policy_digest: DocumentDigest,
    /// Whether it allows.
    pub allow: bool,
    /// Why, in the policy's order.
    pub reasons: Vec<ReasonCode>,
    /// What it demands.
    pub obligations: Obligations,
    /// Where in the policy evaluation ended, if it ended in an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_line: Option<u32>,
}

impl LayerDecision {
    /// A denial because there is no usable answer.
    #[must_use]
    pub fn fault(layer: Layer, policy_digest: DocumentDigest, fault: Fault, line: Option<u32>) -> Self {
        Self {
            layer,
            policy_digest,
            allow: false,
            reasons: vec![fault.reason()],
            obligations: Obligations::default(),
            fault_line: line,
        }
    }

    /// What a policy's well-formed answer means.
    #[must_use]
    pub fn answered(layer: Layer, policy_digest: DocumentDigest, answer: RegoDecision) -> Self {
        let mut reasons = answer.reasons;
        if !answer.allow && reasons.is_empty() {
            reasons.push(Fault::Denied.reason());
        }
        Self {
            layer,
            policy_digest,
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
    /// Why: the layers' reasons, one layer after the other.
    pub reasons: Vec<ReasonCode>,
    /// The strictest of what the layers demand.
    pub obligations: Obligations,
    /// Each layer's own decision.
    pub layers: Vec<LayerDecision>,
    /// What was decided upon.
    pub input_digest: InputDigest,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_reason_is_a_short_dotted_lower_case_code() {
        for good in ["a", "model.not_for_risk_tier", "x1.2.y_"] {
            assert!(ReasonCode::try_from(good.to_owned()).is_ok(), "{good}");
        }
        let long = "a".repeat(MAX_REASON_BYTES + 1);
        for bad in ["", ".", "a.", ".a", "a..b", "1a", "A", "a b", "é", "a\n", &long] {
            assert!(ReasonCode::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_fault_has_a_reason_of_its_own_that_is_a_reason_code() {
        let faults = [
            Fault::NoneActive,
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
        for code in codes {
            assert!(code.as_str().starts_with("policy."));
            assert!(ReasonCode::try_from(code.as_str().to_owned()).is_ok());
        }
    }

    #[test]
    fn a_denial_without_a_reason_gets_one() {
        let answer = RegoDecision {
            allow: false,
            reasons: vec![],
            obligations: Obligations::default(),
        };
        let decision = LayerDecision::answered(Layer::Tenant, DocumentDigest([0; 32]), answer);
        assert_eq!(decision.reasons, [Fault::Denied.reason()]);
    }

    #[test]
    fn modes_are_ordered_from_mild_to_strict() {
        use StepMode::{Block, Flag, Off, Redact, Shadow};
        assert!(Off < Shadow && Shadow < Flag && Flag < Redact && Redact < Block);
    }
}
