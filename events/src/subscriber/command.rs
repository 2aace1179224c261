//! What may be asked of a tenant's subscribers.

use std::time::Duration;

use crate::ids::{ApiKeyHash, ApiKeyId};
use crate::text::Code;
use crate::timestamp::Timestamp;

/// A command to them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SubscriberCommand {
    /// Give one a credential.
    Issue {
        /// The credential's name.
        credential_id: ApiKeyId,
        /// Its keyed hash.
        hash: ApiKeyHash,
        /// How long it works, up to [`MAX_LIFE`](super::MAX_LIFE).
        life: Duration,
        /// From when on.
        now: Timestamp,
    },
    /// Let a credential stop working.
    Revoke {
        /// Which one.
        credential_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
}
