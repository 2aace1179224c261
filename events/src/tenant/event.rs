//! What happens to a tenant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;
use crate::ids::OrganisationId;
use crate::money::Money;
use crate::text::{Code, Name};

/// An event of a tenant, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum TenantEvent {
    /// It exists, and has an empty log.
    TenantCreated {
        /// Whose it is.
        organisation: OrganisationId,
        /// What people call it.
        name: Name,
        /// Whether it is its organisation's home tenant.
        home: bool,
    },
    /// It is called something else.
    TenantRenamed {
        /// Its new name.
        name: Name,
    },
    /// Everything in it stops.
    TenantSuspended {
        /// Why, as a stable code.
        reason: Code,
    },
    /// It goes on.
    TenantResumed {},
    /// From here on, this carrier carries this share of its risk, in place of any share it carried before.
    TenantCarried {
        /// Which organisation.
        carrier: OrganisationId,
        /// How much of the risk: a decimal above 0 and at most 1.
        share: Share,
    },
    /// This carrier carries nothing of it any more.
    TenantReleased {
        /// Which organisation.
        carrier: OrganisationId,
    },
    /// This much is at risk in it.
    ExposureSet {
        /// How much; not negative.
        amount: Money,
    },
}
