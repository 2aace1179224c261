//! Why a command to the keyring is refused.

use super::MAX_KEYS;
use crate::ids::KeyId;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyringError {
    /// No key yet.
    #[error("no signing key has been introduced: introduce the first one (`counterfoil init`)")]
    NotFound,
    /// The first key is there.
    #[error("the first signing key has been introduced already: rotate to another one")]
    AlreadyIntroduced,
    /// A key of this short name is there.
    #[error("a signing key with the id {0} has been introduced already: make another key")]
    KeyIdTaken(KeyId),
    /// No room.
    #[error("the keyring holds {MAX_KEYS} keys, the most it may hold")]
    TooManyKeys,
}

impl Rejection for KeyringError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "keyring_not_found",
            Self::AlreadyIntroduced => "keyring_already_introduced",
            Self::KeyIdTaken(_) => "keyring_key_id_taken",
            Self::TooManyKeys => "keyring_too_many_keys",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::KeyIdTaken(_) => RejectionKind::Invalid { field: "public_key" },
            Self::AlreadyIntroduced | Self::TooManyKeys => RejectionKind::Conflict,
        }
    }
}
