//! Why a command to a tenant is refused.

use rust_decimal::Decimal;

use super::MAX_CARRIERS;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TenantError {
    /// There is no such tenant.
    #[error("there is no such tenant: create it first")]
    NotFound,
    /// Its id is taken.
    #[error("a tenant with this id already exists: take another id")]
    AlreadyExists,
    /// Nothing would change.
    #[error("the tenant stands like this already")]
    Unchanged,
    /// Suspended before.
    #[error("the tenant is suspended already: resume it first")]
    AlreadySuspended,
    /// Not suspended.
    #[error("the tenant is not suspended")]
    NotSuspended,
    /// Risk that stays at home is retained, not carried.
    #[error("the tenant's own organisation cannot carry it: what no carrier carries is its retention")]
    CarriesItself,
    /// The carrier carries nothing of it.
    #[error("this carrier does not carry the tenant")]
    NotCarried,
    /// More than the whole.
    #[error("the carriers' shares would exceed the whole: at most {left} is left; lower another share first")]
    OverCarried {
        /// How much is left to carry.
        left: Decimal,
    },
    /// No room for another carrier.
    #[error("the tenant has {MAX_CARRIERS} carriers, the most it may have: release one first")]
    TooManyCarriers,
    /// Below nothing.
    #[error("the exposure is negative: give zero or more micro-units")]
    NegativeExposure,
}

impl Rejection for TenantError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "tenant_not_found",
            Self::AlreadyExists => "tenant_already_exists",
            Self::Unchanged => "tenant_unchanged",
            Self::AlreadySuspended => "tenant_already_suspended",
            Self::NotSuspended => "tenant_not_suspended",
            Self::CarriesItself => "tenant_carries_itself",
            Self::NotCarried => "tenant_not_carried",
            Self::OverCarried { .. } => "tenant_over_carried",
            Self::TooManyCarriers => "tenant_too_many_carriers",
            Self::NegativeExposure => "tenant_negative_exposure",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound | Self::NotCarried => RejectionKind::NotFound,
            Self::CarriesItself => RejectionKind::Invalid { field: "carrier" },
            Self::NegativeExposure => RejectionKind::Invalid { field: "amount" },
            Self::AlreadyExists
            | Self::Unchanged
            | Self::AlreadySuspended
            | Self::NotSuspended
            | Self::OverCarried { .. }
            | Self::TooManyCarriers => RejectionKind::Conflict,
        }
    }
}
