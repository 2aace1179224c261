//! Why a command to a tenant's subscribers is refused.

use super::{MAX_LIFE, MAX_LIVE};
use crate::ids::ApiKeyId;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubscriberError {
    /// No such credential.
    #[error("the tenant has no credential {0}, or it ended before")]
    NotFound(ApiKeyId),
    /// Not at all, or for longer than may be.
    #[error("a credential works for 1 to {} seconds", MAX_LIFE.as_secs())]
    TooLong,
    /// No room for another.
    #[error(
        "the tenant has {MAX_LIVE} credentials that work, the most it may have: revoke one, or wait for an end"
    )]
    TooMany,
    /// A clock that cannot be.
    #[error("the clock stands at the end of time: set it right")]
    ClockAtItsEnd,
}

impl Rejection for SubscriberError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "subscriber_not_found",
            Self::TooLong => "subscriber_too_long",
            Self::TooMany => "subscriber_too_many",
            Self::ClockAtItsEnd => "subscriber_clock_at_its_end",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound(_) => RejectionKind::NotFound,
            Self::TooLong => RejectionKind::Invalid { field: "for_s" },
            Self::TooMany | Self::ClockAtItsEnd => RejectionKind::Conflict,
        }
    }
}
