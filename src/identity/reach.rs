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
use counterfoil_events::membership::{Grant, Level, Scope};
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

    /// From where everything at a place is stopped, if it is.
    fn stopped_at(&self, _place: Scope) -> Option<Level> {
        None
    }
}

impl Tree for SecurityState {
    fn organisation_of(&self, tenant: TenantId) -> Option<OrganisationId> {
        self.tenant(tenant).map(|entry| entry.organisation)
    }

    fn is_closed(&self, tenant: TenantId) -> bool {
        self.tenant(tenant).is_some_and(|entry| entry.closed)
    }

    fn stopped_at(&self, place: Scope) -> Option<Level> {
        match place {
            Scope::Platform => None,
            Scope::Organisation(id) => {
                let suspended = self.organisation(id).is_some_and(|entry| entry.suspended);
                suspended.then_some(Level::Platform)
            }
            Scope::Tenant(tenant) => SecurityState::stopped_at(self, tenant),
        }
    }
}

/// How far a credential reaches, whatever its user may do. A token of an organisation's issuer is bound to that
/// organisation, and perhaps to one of its tenants; other credentials are not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Roles outside of this organisation and its tenants do not count.
    pub organisation: Option<OrganisationId>,
    /// Nothing but this tenant is reached.
    pub tenant: Option<TenantId>,
}

impl Bounds {
    /// Whether nothing is bound.
    #[must_use]
    pub fn are_open(self) -> bool {
        self == Self::default()
    }

    fn admit(self, grant: Grant, tree: &dyn Tree) -> bool {
        let Some(own) = self.organisation else {
            return true;
        };
        match grant.scope() {
            Scope::Platform => false,
            Scope::Organisation(organisation) => organisation == own,
            Scope::Tenant(tenant) => tree.organisation_of(tenant) == Some(own),
        }
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

/// The same within the bounds of a credential.
#[must_use]
pub fn decide_within(
    bounds: Bounds,
    grants: &[Grant],
    permission: Permission,
    place: Place,
    tree: &dyn Tree,
) -> Decision {
    if bounds.are_open() {
        return decide(grants, permission, place, tree);
    }
    let counts = |grant: &Grant| bounds.admit(*grant, tree);
    let grants: Vec<Grant> = grants.iter().copied().filter(counts).collect();
    let decision = decide(&grants, permission, place, tree);
    let elsewhere = |tenant: &TenantId| place.of(permission, tree) != Scope::Tenant(*tenant);
    let Some(tenant) = bounds.tenant.filter(elsewhere) else {
        return decision;
    };
    // What binds the whole organisation is more than the tenant, though it stands under its path.
    let own = place.scope == Scope::Tenant(tenant) && decision != Decision::Hidden;
    match own || place.scope == Scope::Platform {
        true => Decision::Forbidden,
        false => Decision::Hidden,
    }
}

/// The highest level at which one of these grants lies that permits it there; none if none does.
#[must_use]
pub fn level_within(
    bounds: Bounds,
    grants: &[Grant],
    permission: Permission,
    place: Place,
    tree: &dyn Tree,
) -> Option<Level> {
    let scope = place.of(permission, tree);
    let permits = |grant: &&Grant| {
        bounds.admit(**grant, tree)
            && permits(grant.role(), permission)
            && reach(**grant, permission, scope, tree).is_some()
    };
    grants
        .iter()
        .filter(permits)
        .map(|grant| grant.scope().level())
        .min()
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
