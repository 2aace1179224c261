//! Organisations: carriers, groups and companies, each with the home tenant that its own people work in.
//!
//! They stand in the platform's log; the aggregate's id is the [`crate::ids::OrganisationId`]. Which tenants an
//! organisation has, and which carry whom, stands in the tenants' own histories ([`crate::tenant`]).

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::OrganisationCommand;
pub use error::OrganisationError;
pub use event::OrganisationEvent;

use crate::aggregate::event_sourced;
use crate::ids::TenantId;
use crate::text::Name;

/// What kind of organisation it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrganisationKind {
    /// Carries the risk of others: an insurer.
    Carrier,
    /// A group head: owns companies and may carry their risk.
    Group,
    /// Runs agents.
    Company,
}

impl OrganisationKind {
    /// As it stands in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Carrier => "carrier",
            Self::Group => "group",
            Self::Company => "company",
        }
    }

    /// Whether an organisation of this kind may carry tenants.
    #[must_use]
    pub fn may_carry(self) -> bool {
        matches!(self, Self::Carrier | Self::Group)
    }
}

/// An organisation's state; none before it is created.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Organisation {
    /// What is known of it.
    pub details: Option<OrganisationDetails>,
}

/// What is known of an organisation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganisationDetails {
    /// What kind it is.
    pub kind: OrganisationKind,
    /// What people call it.
    pub name: Name,
    /// The tenant in which its own people work, and through which it sees rollups.
    pub home_tenant: TenantId,
    /// Whether it is suspended.
    pub suspended: bool,
}

event_sourced!(
    Organisation,
    "organisation",
    OrganisationCommand,
    OrganisationError,
    OrganisationEvent {
        OrganisationCreated,
        OrganisationRenamed,
        OrganisationSuspended,
        OrganisationResumed,
    }
);

impl Organisation {
    fn decide(&self, command: OrganisationCommand) -> Result<OrganisationEvent, OrganisationError> {
        use {OrganisationCommand as C, OrganisationError as Refused, OrganisationEvent as E};

        match (&self.details, command) {
            (None, C::Create { home_tenant, .. }) if home_tenant.is_platform() => {
                Err(Refused::PlatformTenant)
            }
            (
                None,
                C::Create {
                    kind,
                    name,
                    home_tenant,
                },
            ) => Ok(E::OrganisationCreated {
                kind,
                name,
                home_tenant,
            }),
            (None, _) => Err(Refused::NotFound),
            (Some(_), C::Create { .. }) => Err(Refused::AlreadyExists),
            (Some(now), C::Rename { name }) if now.name == name => Err(Refused::Unchanged),
            (Some(_), C::Rename { name }) => Ok(E::OrganisationRenamed { name }),
            (Some(now), C::Suspend { .. }) if now.suspended => Err(Refused::AlreadySuspended),
            (Some(_), C::Suspend { reason }) => Ok(E::OrganisationSuspended { reason }),
            (Some(now), C::Resume) if !now.suspended => Err(Refused::NotSuspended),
            (Some(_), C::Resume) => Ok(E::OrganisationResumed {}),
        }
    }

    fn fold(&mut self, event: OrganisationEvent) {
        use OrganisationEvent as E;

        match (event, &mut self.details) {
            (
                E::OrganisationCreated {
                    kind,
                    name,
                    home_tenant,
                },
                details,
            ) => {
                *details = Some(OrganisationDetails {
                    kind,
                    name,
                    home_tenant,
                    suspended: false,
                });
            }
            // Each later event was decided on an organisation that exists.
            (_, None) => {}
            (E::OrganisationRenamed { name }, Some(details)) => details.name = name,
            (E::OrganisationSuspended { .. }, Some(details)) => details.suspended = true,
            (E::OrganisationResumed {}, Some(details)) => details.suspended = false,
        }
    }
}
