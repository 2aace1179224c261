//! The roles there are, and at which levels each may be held.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A level of the tree of places; the highest is the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The platform as a whole.
    Platform,
    /// An organisation with its tenants.
    Organisation,
    /// A tenant.
    Tenant,
}

impl Level {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Organisation => "organisation",
            Self::Tenant => "tenant",
        }
    }
}

/// What somebody is, at some place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the platform: its organisations, tenants and people.
    PlatformAdmin,
    /// Sees all that the platform's administrators see, and changes nothing.
    PlatformAuditor,
    /// Runs an organisation and its tenants.
    OrganisationAdmin,
    /// Answers for an organisation's risk: policies, KRIs, exposure, and the stopping of agents.
    RiskOfficer,
    /// Sees everything of an organisation or a tenant, and changes nothing.
    Auditor,
    /// Runs one tenant.
    TenantAdmin,
    /// Makes agents and their keys in one tenant.
    Developer,
}

/// Text that names no role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a role: docs/permissions.md lists them")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole)
    }
}

impl Role {
    /// All of them, from the widest.
    pub const ALL: [Self; 7] = [
        Self::PlatformAdmin,
        Self::PlatformAuditor,
        Self::OrganisationAdmin,
        Self::RiskOfficer,
        Self::Auditor,
        Self::TenantAdmin,
        Self::Developer,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlatformAdmin => "platform_admin",
            Self::PlatformAuditor => "platform_auditor",
            Self::OrganisationAdmin => "organisation_admin",
            Self::RiskOfficer => "risk_officer",
            Self::Auditor => "auditor",
            Self::TenantAdmin => "tenant_admin",
            Self::Developer => "developer",
        }
    }

    /// Where it may be held.
    #[must_use]
    pub fn levels(self) -> &'static [Level] {
        match self {
            Self::PlatformAdmin | Self::PlatformAuditor => &[Level::Platform],
            Self::OrganisationAdmin | Self::RiskOfficer => &[Level::Organisation],
            Self::Auditor => &[Level::Organisation, Level::Tenant],
            Self::TenantAdmin | Self::Developer => &[Level::Tenant],
        }
    }
}
