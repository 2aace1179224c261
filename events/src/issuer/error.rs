//! Why a command to an issuer is refused.

use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IssuerError {
    /// There is no such issuer.
    #[error("there is no such issuer: configure it first")]
    NotFound,
    /// Its URL and audience are configured, here or elsewhere.
    #[error(
        "an issuer with this URL and audience is configured already: resume it, or let its tokens be for another audience"
    )]
    AlreadyExists,
    /// A place that has no issuers.
    #[error("a tenant has no issuers of its own: configure it at its organisation")]
    OfATenant,
    /// A claim that could name nothing.
    #[error("an issuer of the platform binds nobody to a tenant: leave the claim out")]
    ClaimAtThePlatform,
    /// Nothing would change.
    #[error("this claim names the tenant already")]
    Unchanged,
    /// Suspended before.
    #[error("the issuer is suspended already: resume it first")]
    AlreadySuspended,
    /// Not suspended.
    #[error("the issuer is not suspended")]
    NotSuspended,
}

impl Rejection for IssuerError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "issuer_not_found",
            Self::AlreadyExists => "issuer_already_exists",
            Self::OfATenant => "issuer_of_a_tenant",
            Self::ClaimAtThePlatform => "issuer_claim_at_the_platform",
            Self::Unchanged => "issuer_unchanged",
            Self::AlreadySuspended => "issuer_already_suspended",
            Self::NotSuspended => "issuer_not_suspended",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::OfATenant => RejectionKind::Invalid { field: "place" },
            Self::ClaimAtThePlatform => RejectionKind::Invalid {
                field: "tenant_claim",
            },
            Self::AlreadyExists | Self::Unchanged | Self::AlreadySuspended | Self::NotSuspended => {
                RejectionKind::Conflict
            }
        }
    }
}
