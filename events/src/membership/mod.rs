//! Memberships: which role somebody has, and where.
//!
//! A [`Scope`] is a place in the one tree there is: the platform, its organisations, their tenants. A [`Grant`] is a
//! role at a place of a level that the role belongs to, so that nobody is a developer of the platform. What a role may
//! do is the edge's table; the log says only who has which.

mod role;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use role::{Level, Role, UnknownRole};

use crate::ids::{OrganisationId, TenantId};

/// Where a role holds, or where something is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "level", content = "id", rename_all = "snake_case")]
pub enum Scope {
    /// The platform: everything, but into a tenant only with a reason.
    Platform,
    /// An organisation with its tenants.
    Organisation(OrganisationId),
    /// One tenant.
    Tenant(TenantId),
}

impl Scope {
    /// Of which level it is.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Platform => Level::Platform,
            Self::Organisation(_) => Level::Organisation,
            Self::Tenant(_) => Level::Tenant,
        }
    }
}

/// A role where it cannot be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{role} is no role of a {level}: docs/permissions.md says where each may be granted", role = .role.as_str(), level = .level.as_str())]
pub struct WrongLevel {
    /// The role.
    pub role: Role,
    /// Where it was to be held.
    pub level: Level,
}

/// A role at a place that it may be held at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, try_from = "Unchecked")]
pub struct Grant {
    scope: Scope,
    role: Role,
}

/// A role at a place, as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    scope: Scope,
    role: Role,
}

impl TryFrom<Unchecked> for Grant {
    type Error = WrongLevel;

    fn try_from(Unchecked { scope, role }: Unchecked) -> Result<Self, WrongLevel> {
        Self::new(scope, role)
    }
}

impl Grant {
    /// `role` at `scope`.
    ///
    /// # Errors
    /// When the role does not belong to the scope's level.
    pub fn new(scope: Scope, role: Role) -> Result<Self, WrongLevel> {
        let level = scope.level();
        match role.levels().contains(&level) {
            true => Ok(Self { scope, role }),
            false => Err(WrongLevel { role, level }),
        }
    }

    /// Where.
    #[must_use]
    pub fn scope(self) -> Scope {
        self.scope
    }

    /// What.
    #[must_use]
    pub fn role(self) -> Role {
        self.role
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_role_is_held_only_at_its_level_also_when_read_from_the_log() {
        let tenant = Scope::Tenant(TenantId::generate());
        assert!(Grant::new(tenant, Role::Developer).is_ok());
        assert!(Grant::new(Scope::Platform, Role::Developer).is_err());
        assert!(Grant::new(tenant, Role::PlatformAdmin).is_err());
        let forged = r#"{"scope":{"level":"platform"},"role":"developer"}"#;
        assert!(serde_json::from_str::<Grant>(forged).is_err());
    }

    #[test]
    fn the_wire_form_reads_back() {
        let grants = [
            Grant::new(Scope::Platform, Role::PlatformAuditor).unwrap(),
            Grant::new(Scope::Tenant(TenantId::generate()), Role::Auditor).unwrap(),
        ];
        for grant in grants {
            let text = serde_json::to_string(&grant).unwrap();
            assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant, "{text}");
        }
    }
}
