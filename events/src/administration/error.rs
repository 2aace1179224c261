//! Why a command to the administration is refused.

use super::MAX_ADMINISTRATORS;
use crate::ids::UserId;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdministrationError {
    /// It administers already.
    #[error("user {0} administers the platform already")]
    AlreadyThere(UserId),
    /// It does not administer.
    #[error("user {0} does not administer the platform, or is suspended")]
    NotThere(UserId),
    /// No room.
    #[error("{MAX_ADMINISTRATORS} users administer the platform, which is the most: revoke one")]
    TooMany,
    /// Nobody would be left.
    #[error(
        "this is the platform's last administrator, and the bootstrap token is closed: grant platform_admin to another first"
    )]
    LastAdministrator,
    /// Closed before.
    #[error("the bootstrap token is closed already: grant platform_admin as any other role")]
    AlreadyClosed,
    /// Not closed.
    #[error("the bootstrap token is not closed")]
    NotClosed,
}

impl Rejection for AdministrationError {
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyThere(_) => "administration_already_there",
            Self::NotThere(_) => "administration_not_there",
            Self::TooMany => "administration_too_many",
            Self::LastAdministrator => "administration_last_administrator",
            Self::AlreadyClosed => "administration_already_closed",
            Self::NotClosed => "administration_not_closed",
        }
    }

    fn kind(&self) -> RejectionKind {
        RejectionKind::Conflict
    }
}
