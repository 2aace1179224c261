//! Which role may do what. The one table; what is not in it is denied.

use counterfoil_events::membership::Role;

use super::permission::Permission;
use Permission as P;

/// Whether `role` may do this, where it reaches.
#[must_use]
pub fn permits(role: Role, permission: Permission) -> bool {
    match role {
        Role::PlatformAdmin => true,
        Role::PlatformAuditor => {
            reads(permission) || matches!(permission, P::OrganisationsList | P::TenantsList)
        }
        Role::OrganisationAdmin => runs_organisation(permission),
        Role::RiskOfficer => reads(permission) || answers_for_risk(permission),
        Role::Auditor => reads(permission),
        Role::TenantAdmin => runs_tenant(permission),
        Role::Developer => develops(permission),
    }
}

/// To see, and change nothing.
fn reads(permission: Permission) -> bool {
    matches!(
        permission,
        P::OrganisationsRead
            | P::TenantsRead
            | P::RollupsRead
            | P::MembersRead
            | P::IssuersRead
            | P::AgentsRead
            | P::PoliciesRead
            | P::CompletionsRead
            | P::KrisRead
            | P::SecretsRead
            | P::EventsRead
    )
}

fn runs_organisation(permission: Permission) -> bool {
    // Whether an organisation goes on and who carries its tenants is agreed with the platform.
    reads(permission)
        || changes_inside(permission)
        || matches!(
            permission,
            P::OrganisationsWrite
                | P::TenantsWrite
                | P::TenantsSuspend
                | P::ExposureWrite
                | P::MembersWrite
                | P::IssuersWrite
        )
}

fn answers_for_risk(permission: Permission) -> bool {
    matches!(
        permission,
        P::ExposureWrite
            | P::AgentsSuspend
            | P::AgentKeysRevoke
            | P::PoliciesPublish
            | P::PoliciesActivate
            | P::KrisWrite
            | P::KriSourcesTest
            | P::KriRunsRequest
    )
}

fn runs_tenant(permission: Permission) -> bool {
    let reads_here =
        reads(permission) && !matches!(permission, P::OrganisationsRead | P::RollupsRead | P::IssuersRead);
    reads_here || changes_inside(permission) || matches!(permission, P::TenantsWrite | P::MembersWrite)
}

fn changes_inside(permission: Permission) -> bool {
    matches!(
        permission,
        P::AgentsWrite
            | P::AgentsSuspend
            | P::AgentKeysIssue
            | P::AgentKeysRevoke
            | P::PoliciesPublish
            | P::PoliciesActivate
            | P::KrisWrite
            | P::KriSourcesTest
            | P::KriRunsRequest
            | P::SecretsWrite
            | P::SubscribersWrite
    )
}

/// Agents and their keys; policies are for those who answer for them.
fn develops(permission: Permission) -> bool {
    matches!(
        permission,
        P::TenantsRead
            | P::AgentsRead
            | P::AgentsWrite
            | P::AgentsSuspend
            | P::AgentKeysIssue
            | P::AgentKeysRevoke
            | P::PoliciesRead
            | P::CompletionsRead
            | P::KrisRead
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auditor_of_any_level_changes_nothing() {
        for role in [Role::PlatformAuditor, Role::Auditor] {
            for permission in Permission::ALL.iter().filter(|p| permits(role, **p)) {
                let verb = permission.as_str().split('.').nth(1);
                assert!(matches!(verb, Some("read" | "list")), "{role:?} {permission:?}");
            }
        }
    }

    #[test]
    fn what_is_agreed_with_the_platform_is_the_platforms_alone() {
        let agreed = [
            P::OrganisationsCreate,
            P::OrganisationsList,
            P::OrganisationsSuspend,
            P::TenantsCreate,
            P::TenantsList,
            P::CarriersWrite,
            P::UsersWrite,
            P::OriginSuspend,
            P::TenantsClose,
        ];
        for role in Role::ALL.into_iter().skip(2) {
            assert!(
                agreed.iter().all(|permission| !permits(role, *permission)),
                "{role:?}"
            );
        }
    }

    #[test]
    fn nobody_below_may_do_more_in_a_tenant_than_who_runs_its_organisation() {
        for permission in Permission::ALL {
            for role in [
                Role::RiskOfficer,
                Role::Auditor,
                Role::TenantAdmin,
                Role::Developer,
            ] {
                let more = permits(role, *permission) && !permits(Role::OrganisationAdmin, *permission);
                assert!(!more, "{role:?} {permission:?}");
            }
        }
    }
}
