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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
/// Longest that a replaced key goes on working: a week is enough to bring its successor to every deployment.
pub const MAX_GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

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
    /// Its keys that were replaced and not revoked, with their ends; the latest [`MAX_LIVE_KEYS`] of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ending_keys: BTreeMap<ApiKeyId, Timestamp>,
}

event_sourced!(Agent, "agent", AgentCommand, AgentError, AgentEvent {
    AgentRegistered = event::REGISTERED,
    AgentChanged,
    AgentSuspended,
    AgentResumed,
    AgentKeyIssued,
    AgentKeyRotated,
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
            ) => details.issue(
                NewKey {
                    key_id,
                    hash,
                    expires_at,
                },
                now,
            ),
            (
                Some(details),
                C::RotateKey {
                    old,
                    grace,
                    key_id,
                    hash,
                    expires_at,
                    now,
                },
            ) => details.rotate(
                (old, grace),
                NewKey {
                    key_id,
                    hash,
                    expires_at,
                },
                now,
            ),
            (Some(now), C::RevokeKey { key_id, reason }) if now.has_key(key_id) => {
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
                    ending_keys: BTreeMap::new(),
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
            (
                E::AgentKeyRotated {
                    key_id,
                    old,
                    old_ends_at,
                    ..
                },
                Some(details),
            ) => {
                details.live_keys.remove(&old);
                details.live_keys.insert(key_id);
                details.end(old, old_ends_at);
            }
            (E::AgentKeyRevoked { key_id, .. }, Some(details)) => {
                details.live_keys.remove(&key_id);
                details.ending_keys.remove(&key_id);
            }
        }
    }
}

/// A key to be issued.
struct NewKey {
    key_id: ApiKeyId,
    hash: ApiKeyHash,
    expires_at: Option<Timestamp>,
}

impl AgentDetails {
    fn has_key(&self, key: ApiKeyId) -> bool {
        self.live_keys.contains(&key) || self.ending_keys.contains_key(&key)
    }

    /// How many of its keys may still work.
    fn working(&self, now: Timestamp) -> usize {
        let ending = self.ending_keys.values().filter(|end| **end > now).count();
        self.live_keys.len() + ending
    }

    fn may_take(&self, key: &NewKey, now: Timestamp) -> Result<(), AgentError> {
        if self.has_key(key.key_id) {
            return Err(AgentError::KeyIdTaken(key.key_id));
        }
        if self.working(now) >= MAX_LIVE_KEYS {
            return Err(AgentError::TooManyKeys);
        }
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(AgentError::ExpiresInThePast);
        }
        Ok(())
    }

    fn issue(&self, key: NewKey, now: Timestamp) -> Result<AgentEvent, AgentError> {
        self.may_take(&key, now)?;
        let NewKey {
            key_id,
            hash,
            expires_at,
        } = key;
        Ok(AgentEvent::AgentKeyIssued {
            key_id,
            hash,
            expires_at,
        })
    }

    fn rotate(
        &self,
        (old, grace): (ApiKeyId, Duration),
        key: NewKey,
        now: Timestamp,
    ) -> Result<AgentEvent, AgentError> {
        if self.ending_keys.contains_key(&old) {
            return Err(AgentError::KeyEnding(old));
        }
        if !self.live_keys.contains(&old) {
            return Err(AgentError::KeyNotFound(old));
        }
        if grace > MAX_GRACE {
            return Err(AgentError::GraceTooLong);
        }
        self.may_take(&key, now)?;
        let NewKey {
            key_id,
            hash,
            expires_at,
        } = key;
        Ok(AgentEvent::AgentKeyRotated {
            key_id,
            hash,
            expires_at,
            old,
            old_ends_at: now.checked_add(grace).ok_or(AgentError::ClockAtItsEnd)?,
        })
    }

    /// No more than [`MAX_LIVE_KEYS`] keys work at a time, so that those that end first, and go, have ended.
    fn end(&mut self, key: ApiKeyId, ends_at: Timestamp) {
        self.ending_keys.insert(key, ends_at);
        while self.ending_keys.len() > MAX_LIVE_KEYS {
            let first = self.ending_keys.iter().min_by_key(|(id, end)| (**end, **id));
            let Some(first) = first.map(|(id, _)| *id) else {
                break;
            };
            self.ending_keys.remove(&first);
        }
    }
}
