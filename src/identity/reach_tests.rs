//! Who reaches what. One world: two organisations, one of which carries a tenant of the other.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use counterfoil_events::membership::Role;

use super::*;

struct World {
    ours: OrganisationId,
    carrier: OrganisationId,
    home: TenantId,
    first: TenantId,
    second: TenantId,
    foreign: TenantId,
    owners: HashMap<TenantId, OrganisationId>,
}

impl Tree for World {
    fn organisation_of(&self, tenant: TenantId) -> Option<OrganisationId> {
        self.owners.get(&tenant).copied()
    }
}

impl World {
    fn new() -> Self {
        let (ours, carrier) = (OrganisationId::generate(), OrganisationId::generate());
        let [home, first, second, foreign] = [(); 4].map(|()| TenantId::generate());
        let owners = HashMap::from([(home, ours), (first, ours), (second, ours), (foreign, carrier)]);
        Self {
            ours,
            carrier,
            home,
            first,
            second,
            foreign,
            owners,
        }
    }

    fn ask(&self, role: Role, at: Scope, permission: Permission, place: impl Into<Place>) -> Decision {
        decide(&[Grant::new(at, role).unwrap()], permission, place.into(), self)
    }
}

use Decision::{Allowed, Crossing, Forbidden, Hidden};
use Permission as P;

#[test]
fn each_role_reaches_what_is_its_own_and_nothing_beside_it() {
    let w = World::new();
    let (org, tenant) = (Scope::Organisation, Scope::Tenant);
    let missing = tenant(TenantId::generate());
    let cases = [
        // The platform: registers as they are, tenants only by crossing.
        (
            Role::PlatformAdmin,
            Scope::Platform,
            P::TenantsCreate,
            Scope::Platform,
            Allowed,
        ),
        (
            Role::PlatformAdmin,
            Scope::Platform,
            P::TenantsSuspend,
            tenant(w.first),
            Allowed,
        ),
        (
            Role::PlatformAdmin,
            Scope::Platform,
            P::AgentsWrite,
            tenant(w.first),
            Crossing,
        ),
        (
            Role::PlatformAuditor,
            Scope::Platform,
            P::EventsRead,
            tenant(w.first),
            Crossing,
        ),
        (
            Role::PlatformAuditor,
            Scope::Platform,
            P::EventsRead,
            Scope::Platform,
            Allowed,
        ),
        (
            Role::PlatformAuditor,
            Scope::Platform,
            P::AgentsWrite,
            tenant(w.first),
            Forbidden,
        ),
        (
            Role::PlatformAuditor,
            Scope::Platform,
            P::RollupsRead,
            org(w.carrier),
            Allowed,
        ),
        // An organisation: itself and its tenants.
        (
            Role::OrganisationAdmin,
            org(w.ours),
            P::AgentsWrite,
            tenant(w.second),
            Allowed,
        ),
        (
            Role::OrganisationAdmin,
            org(w.ours),
            P::OrganisationsWrite,
            org(w.ours),
            Allowed,
        ),
        (
            Role::OrganisationAdmin,
            org(w.ours),
            P::OrganisationsWrite,
            org(w.carrier),
            Hidden,
        ),
        (
            Role::OrganisationAdmin,
            org(w.ours),
            P::AgentsRead,
            tenant(w.foreign),
            Hidden,
        ),
        (
            Role::OrganisationAdmin,
            org(w.ours),
            P::TenantsCreate,
            Scope::Platform,
            Forbidden,
        ),
        (
            Role::RiskOfficer,
            org(w.ours),
            P::AgentKeysIssue,
            tenant(w.first),
            Forbidden,
        ),
        // A carrier: the rollups, which are its own, and nothing beneath.
        (
            Role::OrganisationAdmin,
            org(w.carrier),
            P::RollupsRead,
            org(w.carrier),
            Allowed,
        ),
        (
            Role::OrganisationAdmin,
            org(w.carrier),
            P::RollupsRead,
            org(w.ours),
            Hidden,
        ),
        (
            Role::OrganisationAdmin,
            org(w.carrier),
            P::KrisRead,
            tenant(w.first),
            Hidden,
        ),
        // A tenant: itself, also beside others of the same organisation and its home tenant.
        (
            Role::TenantAdmin,
            tenant(w.first),
            P::AgentsWrite,
            tenant(w.first),
            Allowed,
        ),
        (
            Role::TenantAdmin,
            tenant(w.first),
            P::AgentsWrite,
            tenant(w.second),
            Hidden,
        ),
        (
            Role::TenantAdmin,
            tenant(w.home),
            P::AgentsRead,
            tenant(w.first),
            Hidden,
        ),
        (
            Role::TenantAdmin,
            tenant(w.home),
            P::OrganisationsRead,
            org(w.ours),
            Hidden,
        ),
        (
            Role::Developer,
            tenant(w.first),
            P::PoliciesActivate,
            tenant(w.first),
            Forbidden,
        ),
        (Role::Developer, tenant(w.first), P::AgentsRead, missing, Hidden),
    ];
    for (role, at, permission, place, expected) in cases {
        assert_eq!(
            w.ask(role, at, permission, place),
            expected,
            "{role:?} {permission:?} {place:?}"
        );
    }
}

#[test]
fn without_a_grant_everything_is_closed_and_below_the_platform_hidden() {
    let w = World::new();
    for permission in Permission::ALL {
        let at = |scope: Scope| decide(&[], *permission, scope.into(), &w);
        assert_eq!(at(Scope::Platform), Forbidden);
        assert_eq!(at(Scope::Organisation(w.ours)), Hidden);
        assert_eq!(at(Scope::Tenant(w.first)), Hidden);
    }
}

#[test]
fn a_foreign_tenant_and_a_missing_one_are_the_same_for_every_role_beneath_the_platform() {
    let w = World::new();
    let missing = Scope::Tenant(TenantId::generate());
    for role in Role::ALL.into_iter().skip(2) {
        let scopes = [Scope::Organisation(w.ours), Scope::Tenant(w.first)];
        for grant in scopes
            .into_iter()
            .filter_map(|scope| Grant::new(scope, role).ok())
        {
            for permission in Permission::ALL {
                let ask = |place: Scope| decide(&[grant], *permission, place.into(), &w);
                assert_eq!(ask(Scope::Tenant(w.foreign)), Hidden, "{role:?} {permission:?}");
                assert_eq!(ask(missing), Hidden, "{role:?} {permission:?}");
            }
        }
    }
}

#[test]
fn the_organisations_policy_is_the_organisations_though_it_stands_under_its_home_tenant() {
    let w = World::new();
    let policy = Place {
        scope: Scope::Tenant(w.home),
        binds_organisation: true,
    };
    let (org, home) = (Scope::Organisation(w.ours), Scope::Tenant(w.home));
    assert_eq!(
        w.ask(Role::RiskOfficer, org, P::PoliciesActivate, policy),
        Allowed
    );
    assert_eq!(
        w.ask(Role::TenantAdmin, home, P::PoliciesActivate, policy),
        Forbidden
    );
    assert_eq!(w.ask(Role::TenantAdmin, home, P::PoliciesRead, policy), Allowed);
    assert_eq!(
        w.ask(Role::PlatformAdmin, Scope::Platform, P::PoliciesActivate, policy),
        Crossing
    );
    let foreign = Scope::Organisation(w.carrier);
    assert_eq!(
        w.ask(Role::OrganisationAdmin, foreign, P::PoliciesActivate, policy),
        Hidden
    );
}

#[test]
fn of_several_grants_the_one_that_allows_counts() {
    let w = World::new();
    let grants = [
        Grant::new(Scope::Platform, Role::PlatformAuditor).unwrap(),
        Grant::new(Scope::Tenant(w.first), Role::Developer).unwrap(),
    ];
    let ask = |permission, tenant| decide(&grants, permission, Scope::Tenant(tenant).into(), &w);
    assert_eq!(ask(P::AgentsWrite, w.first), Allowed);
    assert_eq!(
        ask(P::AgentsRead, w.first),
        Allowed,
        "no crossing where one is at home"
    );
    assert_eq!(ask(P::AgentsRead, w.second), Crossing);
    assert_eq!(ask(P::AgentsWrite, w.second), Forbidden);
}

#[test]
fn within_an_organisations_bounds_what_is_held_elsewhere_does_not_count() {
    let w = World::new();
    let grants = [
        Grant::new(Scope::Platform, Role::PlatformAdmin).unwrap(),
        Grant::new(Scope::Organisation(w.carrier), Role::OrganisationAdmin).unwrap(),
        Grant::new(Scope::Tenant(w.foreign), Role::TenantAdmin).unwrap(),
        Grant::new(Scope::Tenant(w.first), Role::Developer).unwrap(),
    ];
    let bounds = Bounds {
        organisation: Some(w.ours),
        tenant: None,
    };
    let ask = |permission, place: Scope| decide_within(bounds, &grants, permission, place.into(), &w);
    assert_eq!(ask(P::AgentsWrite, Scope::Tenant(w.first)), Allowed);
    assert_eq!(ask(P::AgentsRead, Scope::Tenant(w.second)), Hidden);
    for permission in Permission::ALL {
        assert_eq!(ask(*permission, Scope::Platform), Forbidden, "{permission:?}");
        assert_eq!(
            ask(*permission, Scope::Organisation(w.carrier)),
            Hidden,
            "{permission:?}"
        );
        assert_eq!(
            ask(*permission, Scope::Tenant(w.foreign)),
            Hidden,
            "{permission:?}"
        );
    }
    let open =
        |permission, place: Scope| decide_within(Bounds::default(), &grants, permission, place.into(), &w);
    for permission in Permission::ALL {
        for place in [
            Scope::Platform,
            Scope::Tenant(w.foreign),
            Scope::Organisation(w.ours),
        ] {
            let unbound = decide(&grants, *permission, place.into(), &w);
            assert_eq!(open(*permission, place), unbound, "{permission:?} {place:?}");
        }
    }
}

#[test]
fn bound_to_a_tenant_nothing_beside_it_is_reached_and_nothing_above() {
    let w = World::new();
    let grants = [Grant::new(Scope::Organisation(w.ours), Role::OrganisationAdmin).unwrap()];
    let bounds = Bounds {
        organisation: Some(w.ours),
        tenant: Some(w.home),
    };
    let ask = |permission, place: Place| decide_within(bounds, &grants, permission, place, &w);
    assert_eq!(ask(P::AgentsWrite, Scope::Tenant(w.home).into()), Allowed);
    for permission in Permission::ALL {
        for hidden in [
            Scope::Tenant(w.first),
            Scope::Tenant(w.foreign),
            Scope::Organisation(w.ours),
        ] {
            assert_eq!(
                ask(*permission, hidden.into()),
                Hidden,
                "{permission:?} {hidden:?}"
            );
        }
        assert_eq!(
            ask(*permission, Scope::Platform.into()),
            Forbidden,
            "{permission:?}"
        );
    }
    let policy = Place {
        scope: Scope::Tenant(w.home),
        binds_organisation: true,
    };
    assert_eq!(ask(P::PoliciesRead, policy), Allowed);
    assert_eq!(
        ask(P::PoliciesActivate, policy),
        Forbidden,
        "it binds the other tenants too"
    );
}

#[test]
fn bounds_never_add_anything() {
    let w = World::new();
    let places = [
        Scope::Platform,
        Scope::Organisation(w.ours),
        Scope::Organisation(w.carrier),
        Scope::Tenant(w.home),
        Scope::Tenant(w.first),
        Scope::Tenant(w.foreign),
    ];
    let tenants = [None, Some(w.home), Some(w.first)];
    let granted = places.iter().flat_map(|at| {
        Role::ALL
            .into_iter()
            .filter_map(|role| Grant::new(*at, role).ok())
    });
    for grant in granted {
        for (tenant, place) in tenants
            .iter()
            .flat_map(|tenant| places.iter().map(move |place| (tenant, place)))
        {
            let bounds = Bounds {
                organisation: Some(w.ours),
                tenant: *tenant,
            };
            for permission in Permission::ALL {
                let within = decide_within(bounds, &[grant], *permission, (*place).into(), &w);
                let without = decide(&[grant], *permission, (*place).into(), &w);
                let more = matches!(within, Allowed | Crossing) && within != without;
                assert!(!more, "{grant:?} {permission:?} {place:?} {bounds:?}");
            }
        }
    }
}
