//! What may be asked of the switch.

use std::time::Duration;

use crate::text::Code;
use crate::timestamp::Timestamp;

/// A command to the switch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OriginCommand {
    /// Ask for no proof for so long.
    Open {
        /// How long, up to [`MAX_OPEN`](super::MAX_OPEN).
        length: Duration,
        /// Why, as a stable code.
        reason: Code,
        /// From when on.
        now: Timestamp,
    },
    /// Ask for proof again, at once.
    Close {
        /// Why, as a stable code.
        reason: Code,
        /// The present: one that has ended cannot be closed.
        now: Timestamp,
    },
}
