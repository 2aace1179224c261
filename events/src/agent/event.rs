//! What happens to an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MAX_MODELS, MAX_TOOL_SCOPES};
use crate::bounded::Bounded;
use crate::document::DocumentRef;
use crate::ids::{ApiKeyHash, ApiKeyId};
use crate::schema::{EventSchema, Upcast};
use crate::text::{Code, ModelName, Name, ToolScope};
use crate::timestamp::Timestamp;

/// How much harm an agent could do, in the words of the EU AI Act (Regulation 2024/1689).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskTier {
    /// Little.
    Minimal,
    /// Some: people must know that they deal with it.
    Limited,
    /// Much: it touches people's rights, safety or money.
    High,
}

impl RiskTier {
    /// As it stands in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Limited => "limited",
            Self::High => "high",
        }
    }
}

/// An event of an agent, in its tenant's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum AgentEvent {
    /// The agent exists.
    AgentRegistered {
        /// What people call it.
        name: Name,
        /// Its spec card.
        spec: DocumentRef,
        /// The models that it may use.
        models: Bounded<ModelName, MAX_MODELS>,
        /// What its tools may be used for.
        tool_scopes: Bounded<ToolScope, MAX_TOOL_SCOPES>,
        /// How much harm it could do.
        risk_tier: RiskTier,
    },
    /// The agent has another spec card.
    AgentChanged {
        /// What people call it.
        name: Name,
        /// Its spec card.
        spec: DocumentRef,
        /// The models that it may use.
        models: Bounded<ModelName, MAX_MODELS>,
        /// What its tools may be used for.
        tool_scopes: Bounded<ToolScope, MAX_TOOL_SCOPES>,
        /// How much harm it could do.
        risk_tier: RiskTier,
    },
    /// The agent is suspended: it is denied everything.
    AgentSuspended {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The agent is resumed.
    AgentResumed {},
    /// The agent has another API key.
    AgentKeyIssued {
        /// The key's name.
        key_id: ApiKeyId,
        /// The key's keyed hash.
        hash: ApiKeyHash,
        /// When it stops working; never, if not given.
        expires_at: Option<Timestamp>,
    },
    /// The agent has an API key in place of another one.
    AgentKeyRotated {
        /// The new key's name.
        key_id: ApiKeyId,
        /// The new key's keyed hash.
        hash: ApiKeyHash,
        /// When the new key stops working; never, if not given.
        expires_at: Option<Timestamp>,
        /// The key that it replaces.
        old: ApiKeyId,
        /// When the old key stops working, with no further event.
        old_ends_at: Timestamp,
    },
    /// One of the agent's API keys does not work any more.
    AgentKeyRevoked {
        /// Which key.
        key_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
}

/// Version 0.9 knew two risks, `low` and `high`, as `risk`; 1.0 has three tiers.
pub(super) const REGISTERED: EventSchema = EventSchema {
    event_type: "AgentRegistered",
    version: "1.0",
    upcasts: &[Upcast {
        from: "0.9",
        to: "1.0",
        lift: risk_to_tier,
    }],
};

/// `low` becomes `limited`, not `minimal`: nobody has judged it to be that harmless.
fn risk_to_tier(mut payload: Value) -> Value {
    if let Some(fields) = payload.as_object_mut() {
        let tier = match fields.remove("risk") {
            Some(Value::String(risk)) if risk == "low" => RiskTier::Limited,
            _ => RiskTier::High,
        };
        fields.insert("risk_tier".to_owned(), tier.as_str().into());
    }
    payload
}
