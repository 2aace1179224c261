//! What may be asked of an agent.

use std::time::Duration;

use super::SpecCard;
use crate::ids::{ApiKeyHash, ApiKeyId};
use crate::text::Code;
use crate::timestamp::Timestamp;

/// A command to an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgentCommand {
    /// Register it. The caller appends [`SpecCard::document`] in the same transaction.
    Register {
        /// What it is.
        card: SpecCard,
    },
    /// Give it another spec card. The caller appends [`SpecCard::document`] in the same transaction.
    Change {
        /// What it is now.
        card: SpecCard,
    },
    /// Deny everything it asks for until it is resumed.
    Suspend {
        /// Why, as a stable code.
        reason: Code,
    },
    /// Let it go on.
    Resume,
    /// Give it another API key.
    IssueKey {
        /// The key's name.
        key_id: ApiKeyId,
        /// The key's keyed hash.
        hash: ApiKeyHash,
        /// When it stops working.
        expires_at: Option<Timestamp>,
        /// The present, against which `expires_at` is checked.
        now: Timestamp,
    },
    /// Give it an API key in place of another one, which goes on working for a while.
    RotateKey {
        /// The key that ends.
        old: ApiKeyId,
        /// How long the old one goes on working, up to [`MAX_GRACE`](super::MAX_GRACE); zero: not at all.
        grace: Duration,
        /// The new key's name.
        key_id: ApiKeyId,
        /// The new key's keyed hash.
        hash: ApiKeyHash,
        /// When the new key stops working.
        expires_at: Option<Timestamp>,
        /// The present, from which the grace is counted.
        now: Timestamp,
    },
    /// Let one of its API keys stop working at once.
    RevokeKey {
        /// Which key.
        key_id: ApiKeyId,
        /// Why, as a stable code.
        reason: Code,
    },
}
