//! Why a command to a secret is refused.

use super::MAX_VERSIONS;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such secret.
    #[error("there is no such secret: store it first")]
    NotFound,
    /// Its name is taken, also by a retired one.
    #[error("a secret with this name already exists: rotate it, or take another name")]
    AlreadyExists,
    /// It is gone for good.
    #[error("the secret is retired for good: store another under a name of its own")]
    Retired,
    /// Somebody else rotated it in between.
    #[error("version {newest} is the newest by now: rotate it again if yours is to follow")]
    NotTheNext {
        /// The newest version.
        newest: u32,
    },
    /// A version that was followed by another.
    #[error("version {newest} is the newest by now, and only the newest is opened")]
    NotTheNewest {
        /// The newest version.
        newest: u32,
    },
    /// Rotated as often as it can be.
    #[error("the secret has {MAX_VERSIONS} versions, which is the most: store another")]
    TooManyVersions,
}

impl Rejection for SecretError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "secret_not_found",
            Self::AlreadyExists => "secret_already_exists",
            Self::Retired => "secret_retired",
            Self::NotTheNext { .. } => "secret_not_the_next_version",
            Self::NotTheNewest { .. } => "secret_not_the_newest_version",
            Self::TooManyVersions => "secret_too_many_versions",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyExists
            | Self::Retired
            | Self::NotTheNext { .. }
            | Self::NotTheNewest { .. }
            | Self::TooManyVersions => RejectionKind::Conflict,
        }
    }
}
