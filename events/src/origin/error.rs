//! Why a command to the switch is refused.

use super::MAX_OPEN;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OriginError {
    /// Not at all, or for longer than may be.
    #[error("the proof of origin is suspended for 1 to {} seconds at a time", MAX_OPEN.as_secs())]
    TooLong,
    /// Proof is asked for.
    #[error("the proof of origin is not suspended")]
    NotOpen,
    /// A clock that cannot be.
    #[error("the clock stands at the end of time: set it right")]
    ClockAtItsEnd,
}

impl Rejection for OriginError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "origin_too_long",
            Self::NotOpen => "origin_not_open",
            Self::ClockAtItsEnd => "origin_clock_at_its_end",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::TooLong => RejectionKind::Invalid { field: "for_s" },
            Self::NotOpen | Self::ClockAtItsEnd => RejectionKind::Conflict,
        }
    }
}
