//! Why a command to an organisation's key is refused.

use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VaultKeyError {
    /// Somebody else was quicker.
    #[error("key {newest} wraps by now: rotate again if another is to follow")]
    NotLater {
        /// The key that the log names last.
        newest: u32,
    },
}

impl Rejection for VaultKeyError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotLater { .. } => "vault_key_not_later",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotLater { .. } => RejectionKind::Conflict,
        }
    }
}
