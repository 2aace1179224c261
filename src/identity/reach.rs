//! The decision: may somebody with these grants do this, there? Pure, and the only place where it is made.
//!
//! | a grant at | reaches |
//! | --- | --- |
//! | the platform | every register; into a tenant only by crossing |
//! | an organisation | itself and its tenants; of tenants that it carries the rollups, which are its own |
//! | a tenant | itself |
//!
//! What no grant reaches is *hidden*: whether it is another's or nobody's cannot be told apart. What is reached
//! without the permission is *forbidden*.

use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::membership::{Grant, Scope};
use counterfoil_events::security::SecurityState;

use super::permission::{Depth, Permission};
use super::place::Place;
use super::roles::permits;

/// Which tenant is whose.
pub trait Tree {
    /// The organisation that a tenant belongs to; none for a tenant that does not exist.
    fn organisation_of(&self, tenant: TenantId) -> Option<OrganisationId>;

    /// Whether a tenant has ended, and takes no commands any more.
    fn is_closed(&self, _tenant: TenantId) -> bool {
        false
    }
}

impl Tree for SecurityState {
    fn organisation_of(&self, tenant: TenantId) -> Option<OrganisationId> {
        self.tenant(tenant).map(|entry| entry.organisation)
    }

    fn is_closed(&self, tenant: TenantId) -> bool {
        self.tenant(tenant).is_some_and(|entry| entry.closed)
    }
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allowed,
    /// Yes, from the platform into a tenant: only with a reason, and on record.
    Crossing,
    /// It is within reach, but no role there may do this.
    Forbidden,
    /// Nothing of it is within reach: as if it did not exist.
    Hidden,
}

/// How a grant comes to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Within,
    Across,
}

/// Whether whoever has `grants` may use `permission` at `place`.
#[must_use]
pub fn decide(grants: &[Grant], permission: Permission, place: Place, tree: &dyn Tree) -> Decision {
    let reaching = |scope: Scope| {
        grants
            .iter()
            .filter_map(move |grant| Some((grant.role(), reach(*grant, permission, scope, tree)?)))
    };
    let permitted = |how: Reach| {
        reaching(place.of(permission, tree)).any(|(role, reach)| reach == how && permits(role, permission))
    };
    if permitted(Reach::Within) {
        return Decision::Allowed;
    }
    if permitted(Reach::Across) {
        return Decision::Crossing;
    }
    // A route of the platform is no secret, only closed; nor is a tenant to its own people.
    let known = place.scope == Scope::Platform
        || reaching(place.scope).next().is_some()
        || reaching(place.of(permission, tree)).next().is_some();
    if known {
        Decision::Forbidden
    } else {
        Decision::Hidden
    }
}

fn reach(grant: Grant, permission: Permission, scope: Scope, tree: &dyn Tree) -> Option<Reach> {
    match (grant.scope(), scope) {
        (Scope::Platform, Scope::Platform) => Some(Reach::Within),
        (Scope::Platform, _) => Some(match permission.depth() {
            Depth::Register => Reach::Within,
            Depth::Inside => Reach::Across,
        }),
        (Scope::Organisation(own), Scope::Tenant(tenant)) => {
            (tree.organisation_of(tenant) == Some(own)).then_some(Reach::Within)
        }
        (own, wanted) => (own == wanted).then_some(Reach::Within),
    }
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
