//! Subscribers: programs of a tenant that follow its log over NATS by themselves.
//!
//! One aggregate in a tenant's log (aggregate id: [`AGGREGATE_ID`]) holds which credentials there are. A credential is
//! shown once, kept as a keyed hash, lives [`MAX_LIFE`] at the most, and reaches that tenant's events alone.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::SubscriberCommand;
pub use error::SubscriberError;
pub use event::SubscriberEvent;

use crate::aggregate::event_sourced;
use crate::ids::ApiKeyId;
use crate::timestamp::Timestamp;

/// The one aggregate's id.
pub const AGGREGATE_ID: &str = "subscribers";
/// Longest life of a credential: a program fetches the next one by itself, and a lost one is soon worth nothing.
pub const MAX_LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// Most credentials of a tenant that work at a time.
pub const MAX_LIVE: usize = 16;

/// A tenant's credentials.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribers {
    /// Those that were not revoked, with their ends; the latest [`MAX_LIVE`] of them.
    pub live: BTreeMap<ApiKeyId, Timestamp>,
}

event_sourced!(
    Subscribers,
    "subscriber",
    SubscriberCommand,
    SubscriberError,
    SubscriberEvent {
        SubscriberCredentialIssued,
        SubscriberCredentialRevoked,
    }
);

impl Subscribers {
    fn decide(&self, command: SubscriberCommand) -> Result<SubscriberEvent, SubscriberError> {
        match command {
            SubscriberCommand::Issue {
                credential_id,
                hash,
                life,
                now,
            } => {
                if life.is_zero() || life > MAX_LIFE {
                    return Err(SubscriberError::TooLong);
                }
                if self.live.values().filter(|end| **end > now).count() >= MAX_LIVE {
                    return Err(SubscriberError::TooMany);
                }
                let expires_at = now.checked_add(life).ok_or(SubscriberError::ClockAtItsEnd)?;
                Ok(SubscriberEvent::SubscriberCredentialIssued {
                    credential_id,
                    hash,
                    expires_at,
                })
            }
            SubscriberCommand::Revoke {
                credential_id,
                reason,
            } if self.live.contains_key(&credential_id) => Ok(SubscriberEvent::SubscriberCredentialRevoked {
                credential_id,
                reason,
            }),
            SubscriberCommand::Revoke { credential_id, .. } => Err(SubscriberError::NotFound(credential_id)),
        }
    }

    fn fold(&mut self, event: SubscriberEvent) {
        match event {
            SubscriberEvent::SubscriberCredentialIssued {
                credential_id,
                expires_at,
                ..
            } => keep_latest(&mut self.live, credential_id, expires_at),
            SubscriberEvent::SubscriberCredentialRevoked { credential_id, .. } => {
                self.live.remove(&credential_id);
            }
        }
    }
}

/// No more than [`MAX_LIVE`] work at a time, so that those that end first, and go, have ended.
pub(crate) fn keep_latest(live: &mut BTreeMap<ApiKeyId, Timestamp>, id: ApiKeyId, expires_at: Timestamp) {
    live.insert(id, expires_at);
    while live.len() > MAX_LIVE {
        let first = live.iter().min_by_key(|(id, end)| (**end, **id));
        let Some(first) = first.map(|(id, _)| *id) else {
            break;
        };
        live.remove(&first);
    }
}
