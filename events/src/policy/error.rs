//! Why a command to a policy is refused.

use super::MAX_VERSIONS;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyError {
    /// Nothing published.
    #[error("this layer has no policy yet: publish one first")]
    NotFound,
    /// No version of this number.
    #[error("there is no version {version}; the newest is {newest}")]
    NoSuchVersion {
        /// Asked for.
        version: u32,
        /// The newest.
        newest: u32,
    },
    /// Same text as before.
    #[error("version {version} is this very text: activate it instead")]
    Unchanged {
        /// The newest version.
        version: u32,
    },
    /// It decides already.
    #[error("version {version} is active already")]
    AlreadyActive {
        /// Which.
        version: u32,
    },
    /// Nothing to go back from.
    #[error("no version is active: activate one first")]
    NothingActive,
    /// Nothing to go back to.
    #[error("no other version has been active before: activate one instead")]
    NothingBefore,
    /// A rollback goes back.
    #[error("version {version} has never been active, so there is no going back to it: activate it instead")]
    NeverActive {
        /// Which.
        version: u32,
    },
    /// No room.
    #[error("the policy has {MAX_VERSIONS} versions, the most it may have")]
    TooManyVersions,
}

impl Rejection for PolicyError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "policy_not_found",
            Self::NoSuchVersion { .. } => "policy_no_such_version",
            Self::Unchanged { .. } => "policy_unchanged",
            Self::AlreadyActive { .. } => "policy_already_active",
            Self::NothingActive => "policy_nothing_active",
            Self::NothingBefore => "policy_nothing_before",
            Self::NeverActive { .. } => "policy_never_active",
            Self::TooManyVersions => "policy_too_many_versions",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound | Self::NoSuchVersion { .. } => RejectionKind::NotFound,
            Self::Unchanged { .. }
            | Self::AlreadyActive { .. }
            | Self::NothingActive
            | Self::NothingBefore
            | Self::NeverActive { .. }
            | Self::TooManyVersions => RejectionKind::Conflict,
        }
    }
}
