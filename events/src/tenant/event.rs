//! What happens to a tenant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;
use crate::ids::OrganisationId;
use crate::money::Money;
use crate::text::{Code, Name};
use crate::timestamp::Timestamp;

/// An event of a tenant, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum TenantEvent {
    /// The tenant exists, and has an empty log.
    TenantCreated {
        /// Whose it is.
        organisation: OrganisationId,
        /// What people call it.
        name: Name,
        /// Whether it is its organisation's home tenant.
        home: bool,
    },
    /// The tenant is called something else.
    TenantRenamed {
        /// Its new name.
        name: Name,
    },
    /// The tenant is suspended: everything in it stops.
    TenantSuspended {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The tenant is resumed.
    TenantResumed {},
    /// From here on, this carrier carries this share of the tenant's risk, in place of any share that it carried before.
    TenantCarried {
        /// Which organisation.
        carrier: OrganisationId,
        /// How much of the risk: a decimal above 0 and at most 1.
        share: Share,
    },
    /// This carrier carries nothing of the tenant's risk any more.
    TenantReleased {
        /// Which organisation.
        carrier: OrganisationId,
    },
    /// The tenant has ended: it takes no commands and no calls any more.
    TenantClosed {
        /// Why, as a stable code.
        reason: Code,
        /// Until when everything of it is kept.
        retain_until: Timestamp,
    },
    /// What can be erased of a tenant that has ended was erased; its log stays, and verifies.
    TenantErased {
        /// How many sealed versions of secrets were destroyed.
        secrets: u32,
    },
    /// This much is at risk in the tenant.
    ExposureSet {
        /// How much; not negative.
        amount: Money,
    },
}
