//! Why a command to a KRI is refused.

use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KriError {
    /// There is no such KRI.
    #[error("there is no such KRI: define it first")]
    NotFound,
    /// Its id is taken.
    #[error("a KRI with this id already exists: change it, or take another id")]
    AlreadyExists,
    /// Nothing would change.
    #[error("the KRI is defined like this already")]
    Unchanged,
    /// Retired, for good.
    #[error("the KRI is retired: define another one")]
    Retired,
}

impl Rejection for KriError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "kri_not_found",
            Self::AlreadyExists => "kri_already_exists",
            Self::Unchanged => "kri_unchanged",
            Self::Retired => "kri_retired",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyExists | Self::Unchanged | Self::Retired => RejectionKind::Conflict,
        }
    }
}
