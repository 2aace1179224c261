//! Why a command to an organisation is refused.

use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrganisationError {
    /// There is no such organisation.
    #[error("there is no such organisation: create it first")]
    NotFound,
    /// Its id is taken.
    #[error("an organisation with this id already exists: take another id")]
    AlreadyExists,
    /// The platform's own log is no one's home.
    #[error("the platform's own tenant cannot be a home tenant: take another id")]
    PlatformTenant,
    /// Nothing would change.
    #[error("the organisation has this name already")]
    Unchanged,
    /// Suspended before.
    #[error("the organisation is suspended already: resume it first")]
    AlreadySuspended,
    /// Not suspended.
    #[error("the organisation is not suspended")]
    NotSuspended,
}

impl Rejection for OrganisationError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "organisation_not_found",
            Self::AlreadyExists => "organisation_already_exists",
            Self::PlatformTenant => "organisation_platform_tenant",
            Self::Unchanged => "organisation_unchanged",
            Self::AlreadySuspended => "organisation_already_suspended",
            Self::NotSuspended => "organisation_not_suspended",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::PlatformTenant => RejectionKind::Invalid { field: "home_tenant" },
            Self::AlreadyExists | Self::Unchanged | Self::AlreadySuspended | Self::NotSuspended => {
                RejectionKind::Conflict
            }
        }
    }
}
