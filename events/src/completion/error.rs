//! Why a command to a completion is refused.

use crate::money::Currency;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompletionError {
    /// There is no such completion.
    #[error("there is no such completion")]
    NotFound,
    /// Authorised or denied before.
    #[error("the completion has been decided on already: take another id")]
    AlreadyDecided,
    /// Denied, or ended before.
    #[error("the completion has ended already; its first ending stands")]
    AlreadyEnded,
    /// The bill is in another currency than the authorisation.
    #[error("the cost is not in {authorized}, in which the completion was authorised: convert it first")]
    OtherCurrency {
        /// The authorisation's.
        authorized: Currency,
    },
}

impl Rejection for CompletionError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "completion_not_found",
            Self::AlreadyDecided => "completion_already_decided",
            Self::AlreadyEnded => "completion_already_ended",
            Self::OtherCurrency { .. } => "completion_other_currency",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::OtherCurrency { .. } => RejectionKind::Invalid { field: "cost" },
            Self::AlreadyDecided | Self::AlreadyEnded => RejectionKind::Conflict,
        }
    }
}
