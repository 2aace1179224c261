//! The input document: everything a policy may know when it decides about one completion.
//!
//! `docs/policy-contract.md` describes it for policy authors; `docs/schemas/policy-input.json` is generated from
//! these types. Ids instead of names: no personal data but what the caller wrote into the messages themselves,
//! which the policy may read because the input is evaluated in memory and never stored. Of it, only its digest
//! stays. Time is handed in: a policy has no clock, so that the same input decides the same way for ever.

use chrono::{Datelike, Timelike};
use counterfoil_events::agent::RiskTier;
use counterfoil_events::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What `input` is in a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyInput {
    /// Whose tenant the call belongs to.
    pub tenant: TenantInput,
    /// The organisation that the tenant belongs to.
    pub organisation: OrganisationInput,
    /// Who calls.
    pub agent: AgentInput,
    /// What is asked for.
    pub request: RequestInput,
    /// When, as the gateway's clock has it.
    pub time: TimeInput,
}

/// The tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantInput {
    /// The tenant's id.
    pub id: Uuid,
}

/// The organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationInput {
    /// The organisation's id.
    pub id: Uuid,
}

/// The agent, as its spec card describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentInput {
    /// The agent's id.
    pub id: Uuid,
    /// Its risk tier, as on the spec card.
    pub risk_tier: RiskTier,
    /// The tools it may use, as on the spec card.
    pub tool_scopes: Vec<String>,
    /// The models it may use, as on the spec card.
    pub models: Vec<String>,
}

/// The completion that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestInput {
    /// The model asked for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The cap on output tokens that the caller set; null when the caller set none.
    pub max_tokens: Option<u64>,
    /// How many messages there are.
    pub message_count: u64,
    /// The roles that occur, each once, in the order of their first message.
    pub roles: Vec<String>,
    /// The names of the tools that are declared, in order.
    pub tools: Vec<String>,
    /// The size of the request's body in bytes.
    pub bytes: u64,
    /// The messages, in order.
    pub messages: Vec<MessageInput>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageInput {
    /// Who speaks: `system`, `user`, `assistant`, `tool` …
    pub role: String,
    /// The message's text: its text parts joined by line feeds; empty when it has none.
    pub content: String,
}

/// A moment in UTC, spelled in the ways that policies ask for, since they have no calendar of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeInput {
    /// RFC 3339 with microseconds: `2026-11-20T12:00:00.000000Z`.
    pub rfc3339: String,
    /// Whole seconds since 1970.
    pub unix: i64,
    /// The hour of the day, 0 to 23.
    #[schemars(range(min = 0, max = 23))]
    pub hour: u32,
    /// The day of the week, `monday` to `sunday`.
    pub weekday: Weekday,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the meaning")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl TimeInput {
    /// Spells `moment`.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        let moment_utc = moment.as_datetime();
        Self {
            rfc3339: moment.to_string(),
            unix: moment_utc.timestamp(),
            hour: moment_utc.hour(),
            weekday: match moment_utc.weekday() {
                chrono::Weekday::Mon => Weekday::Monday,
                chrono::Weekday::Tue => Weekday::Tuesday,
                chrono::Weekday::Wed => Weekday::Wednesday,
                chrono::Weekday::Thu => Weekday::Thursday,
                chrono::Weekday::Fri => Weekday::Friday,
                chrono::Weekday::Sat => Weekday::Saturday,
                chrono::Weekday::Sun => Weekday::Sunday,
            },
        }
    }
}

impl RequestInput {
    /// Describes a request, counting its messages and listing their roles.
    #[must_use]
    pub fn new(model: String, body_bytes: u64, messages: Vec<MessageInput>) -> Self {
        let mut roles: Vec<String> = Vec::new();
        for message in &messages {
            if !roles.contains(&message.role) {
                roles.push(message.role.clone());
            }
        }
        Self {
            model,
            stream: false,
            max_tokens: None,
            message_count: messages.len() as u64,
            roles,
            tools: Vec::new(),
            bytes: body_bytes,
            messages,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_moment_is_spelled_in_utc_with_its_hour_and_weekday() {
        let moment: Timestamp = "2026-11-20T23:59:59.500000Z".parse().unwrap();
        let time = TimeInput::at(moment);
        assert_eq!(time.rfc3339, "2026-11-20T23:59:59.500000Z");
        assert_eq!(time.unix, 1_795_219_199);
        assert_eq!((time.hour, time.weekday), (23, Weekday::Friday));
    }

    #[test]
    fn roles_are_listed_once_in_the_order_they_first_speak() {
        let message = |role: &str| MessageInput {
            role: role.into(),
            content: String::new(),
        };
        let messages = ["system", "user", "assistant", "user"].map(message).to_vec();
        let request = RequestInput::new("demo".into(), 10, messages);
        assert_eq!(request.roles, ["system", "user", "assistant"]);
        assert_eq!(request.message_count, 4);
    }
}
