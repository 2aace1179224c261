//! What may be asked of an organisation.

use super::OrganisationKind;
use crate::ids::TenantId;
use crate::text::{Code, Name};

/// A command to an organisation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrganisationCommand {
    /// Make it. Its home tenant is created in the same transaction, by [`crate::tenant::TenantCommand::Create`].
    Create {
        /// What kind it is.
        kind: OrganisationKind,
        /// What people call it.
        name: Name,
        /// The tenant in which its own people work.
        home_tenant: TenantId,
    },
    /// Call it something else.
    Rename {
        /// Its new name.
        name: Name,
    },
    /// Stop everything in its tenants until it is resumed.
    Suspend {
        /// Why, as a stable code.
        reason: Code,
    },
    /// Let it go on.
    Resume,
}
