//! What happens to an organisation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OrganisationKind;
use crate::ids::TenantId;
use crate::text::{Code, Name};

/// An event of an organisation, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum OrganisationEvent {
    /// The organisation exists.
    OrganisationCreated {
        /// What kind it is.
        kind: OrganisationKind,
        /// What people call it.
        name: Name,
        /// The tenant in which its own people work.
        home_tenant: TenantId,
    },
    /// The organisation is called something else.
    OrganisationRenamed {
        /// Its new name.
        name: Name,
    },
    /// The organisation is suspended: everything in its tenants stops.
    OrganisationSuspended {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The organisation is resumed: its tenants go on.
    OrganisationResumed {},
}
