//! What happens to a tenant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Share;
use crate::ids::OrganisationId;
use crate::membership::Level;
use crate::money::Money;
use crate::schema::{EventSchema, Upcast};
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
        /// From where: nobody below lets it go on.
        level: Level,
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

/// Version 1.0 did not say from where.
pub(super) const SUSPENDED: EventSchema = EventSchema {
    event_type: "TenantSuspended",
    version: "1.1",
    upcasts: &[Upcast {
        from: "1.0",
        to: "1.1",
        lift: by_the_platform,
    }],
};

/// The stricter of the two that it can have been.
fn by_the_platform(mut payload: Value) -> Value {
    if let Some(fields) = payload.as_object_mut() {
        fields.insert("level".to_owned(), Value::from(Level::Platform.as_str()));
    }
    payload
}
