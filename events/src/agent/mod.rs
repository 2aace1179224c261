//! Supervised AI agents: what they are for, what they may use, and the API keys by which they are known.
//!
//! An agent stands in its tenant's log (aggregate id: the [`AgentId`](crate::ids::AgentId)). Its full spec card is a
//! document; the event holds the document's digest and what supervision needs at hand: name, models, tool scopes
//! and risk tier. Keys are shown once and kept as keyed hashes. A suspended agent may still get and lose keys: it
//! is its state, not its keys, that stops it.

mod command;
mod error;
mod event;
pub mod key;
mod spec_card;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::AgentCommand;
pub use error::AgentError;
pub use event::{AgentEvent, RiskTier};
pub use spec_card::{MAX_MODELS, MAX_TOOL_SCOPES, SpecCard};

use crate::aggregate::event_sourced;
use crate::document::DocumentRef;
use crate::ids::{ApiKeyHash, ApiKeyId};
use crate::timestamp::Timestamp;

/// Most keys that an agent has at a time: one per deployment and one more to rotate to.
pub const MAX_LIVE_KEYS: usize = 16;

/// An agent's state; none before it is registered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Agent {
    /// What deciding about it needs.
    pub details: Option<AgentDetails>,
}

/// What deciding about an agent needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDetails {
    /// Its spec card.
    pub spec: DocumentRef,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Its keys that are not revoked. An expired key counts until it is revoked.
    pub live_keys: BTreeSet<ApiKeyId>,
}

event_sourced!(Agent, "agent", AgentCommand, AgentError, AgentEvent {
    AgentRegistered = event::REGISTERED,
    AgentChanged,
    AgentSuspended,
    AgentResumed,
    AgentKeyIssued,
    AgentKeyRevoked,
});

impl Agent {
    fn decide(&self, command: AgentCommand) -> Result<AgentEvent, AgentError> {
        use {AgentCommand as C, AgentError as Refused, AgentEvent as E};

        match (&self.details, command) {
            (None, C::Register { card }) => card.registered(),
            (None, _) => Err(Refused::NotFound),
            (Some(_), C::Register { .. }) => Err(Refused::AlreadyExists),
            (Some(now), C::Change { card }) => card.changed(now.spec),
            (Some(now), C::Suspend { .. }) if now.suspended => Err(Refused::AlreadySuspended),
            (Some(_), C::Suspend { reason }) => Ok(E::AgentSuspended { reason }),
            (Some(now), C::Resume) if !now.suspended => Err(Refused::NotSuspended),
            (Some(_), C::Resume) => Ok(E::AgentResumed {}),
            (
                Some(details),
                C::IssueKey {
                    key_id,
                    hash,
                    expires_at,
                    now,
                },
            ) => details.issue(key_id, hash, expires_at, now),
            (Some(now), C::RevokeKey { key_id, reason }) if now.live_keys.contains(&key_id) => {
                Ok(E::AgentKeyRevoked { key_id, reason })
            }
            (Some(_), C::RevokeKey { key_id, .. }) => Err(Refused::KeyNotFound(key_id)),
        }
    }

    fn fold(&mut self, event: AgentEvent) {
        use AgentEvent as E;

        match (event, &mut self.details) {
            (E::AgentRegistered { spec, .. }, details) => {
                *details = Some(AgentDetails {
                    spec,
                    suspended: false,
                    live_keys: BTreeSet::new(),
                });
            }
            // Each later event was decided on an agent that exists.
            (_, None) => {}
            (E::AgentChanged { spec, .. }, Some(details)) => details.spec = spec,
            (E::AgentSuspended { .. }, Some(details)) => details.suspended = true,
            (E::AgentResumed {}, Some(details)) => details.suspended = false,
            (E::AgentKeyIssued { key_id, .. }, Some(details)) => {
                details.live_keys.insert(key_id);
            }
            (E::AgentKeyRevoked { key_id, .. }, Some(details)) => {
                details.live_keys.remove(&key_id);
            }
        }
    }
}

impl AgentDetails {
    fn issue(
        &self,
        key_id: ApiKeyId,
        hash: ApiKeyHash,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<AgentEvent, AgentError> {
        if self.live_keys.contains(&key_id) {
            return Err(AgentError::KeyIdTaken(key_id));
        }
        if self.live_keys.len() >= MAX_LIVE_KEYS {
            return Err(AgentError::TooManyKeys);
        }
        if expires_at.is_some_and(|end| end <= now) {
            return Err(AgentError::ExpiresInThePast);
        }
        Ok(AgentEvent::AgentKeyIssued {
            key_id,
            hash,
            expires_at,
        })
    }
}
