//! Why a command to a tenant is refused.

use rust_decimal::Decimal;

use super::{MAX_CARRIERS, MAX_RETENTION};
use crate::rejection::{Rejection, RejectionKind};
use crate::timestamp::Timestamp;

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
    /// Somebody above stopped it.
    #[error("the tenant was suspended from above: only there is it resumed")]
    SuspendedAbove,
    /// Not suspended.
    #[error("the tenant is not suspended")]
    NotSuspended,
    /// It has ended.
    #[error("the tenant is closed, for good")]
    Closed,
    /// It goes on.
    #[error("the tenant is not closed: close it first, with the date until which it is kept")]
    NotClosed,
    /// Calls may come in still.
    #[error("the tenant is not suspended: suspend it, export its log, and close it then")]
    SuspendFirst,
    /// A home without an organisation's people.
    #[error("this is its organisation's home tenant: it ends with the organisation alone")]
    HomeTenant,
    /// A date that is none.
    #[error("retention lasts from now to {} years from now", MAX_RETENTION.as_secs() / (365 * 86_400))]
    Retention,
    /// Too early.
    #[error("the tenant is kept until {0}: erase it then")]
    Retained(Timestamp),
    /// Erased before.
    #[error("the tenant was erased before")]
    AlreadyErased,
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
            Self::SuspendedAbove => "tenant_suspended_above",
            Self::NotSuspended => "tenant_not_suspended",
            Self::Closed => "tenant_closed",
            Self::NotClosed => "tenant_not_closed",
            Self::SuspendFirst => "tenant_suspend_first",
            Self::HomeTenant => "tenant_home",
            Self::Retention => "tenant_retention",
            Self::Retained(_) => "tenant_retained",
            Self::AlreadyErased => "tenant_already_erased",
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
            Self::Retention => RejectionKind::Invalid {
                field: "retain_until",
            },
            Self::CarriesItself => RejectionKind::Invalid { field: "carrier" },
            Self::NegativeExposure => RejectionKind::Invalid { field: "amount" },
            Self::AlreadyExists
            | Self::Unchanged
            | Self::AlreadySuspended
            | Self::SuspendedAbove
            | Self::NotSuspended
            | Self::Closed
            | Self::NotClosed
            | Self::SuspendFirst
            | Self::HomeTenant
            | Self::Retained(_)
            | Self::AlreadyErased
            | Self::OverCarried { .. }
            | Self::TooManyCarriers => RejectionKind::Conflict,
        }
    }
}
