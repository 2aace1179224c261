//! Tenants: the units of isolation, each with a log of its own; who carries their risk, and how large it is.
//!
//! A tenant's history stands in the platform's log (aggregate id: the [`TenantId`]), what happens *in* it in its
//! own. A tenant belongs to one organisation and may be carried by several carriers, whose shares add up to one
//! whole at most; what is missing is the organisation's own retention. That a carrier exists and may carry is
//! checked by the caller, since it stands in another aggregate.
//!
//! [`TenantId`]: crate::ids::TenantId

mod command;
mod error;
mod event;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::TenantCommand;
pub use error::TenantError;
pub use event::TenantEvent;
pub use share::{Share, ShareError};

use crate::aggregate::event_sourced;
use crate::ids::OrganisationId;
use crate::money::{Micros, Money};
use crate::text::Name;

/// Most carriers of one tenant. Co-insurance panels have a handful; the limit bounds the state and the rollups.
pub const MAX_CARRIERS: usize = 32;

/// A tenant's state; none before it is created.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Tenant {
    /// What is known of it.
    pub details: Option<TenantDetails>,
}

/// What is known of a tenant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantDetails {
    /// Whose it is.
    pub organisation: OrganisationId,
    /// What people call it.
    pub name: Name,
    /// Whether it is its organisation's home tenant.
    pub home: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Who carries which share of its risk.
    pub carriers: BTreeMap<OrganisationId, Share>,
    /// How much is at risk in it, once somebody said so.
    pub exposure: Option<Money>,
}

event_sourced!(
    Tenant,
    "tenant",
    TenantCommand,
    TenantError,
    TenantEvent {
        TenantCreated,
        TenantRenamed,
        TenantSuspended,
        TenantResumed,
        TenantCarried,
        TenantReleased,
        ExposureSet,
    }
);

impl Tenant {
    fn decide(&self, command: TenantCommand) -> Result<TenantEvent, TenantError> {
        use {TenantCommand as C, TenantError as Refused, TenantEvent as E};

        match (&self.details, command) {
            (
                None,
                C::Create {
                    organisation,
                    name,
                    home,
                },
            ) => Ok(E::TenantCreated {
                organisation,
                name,
                home,
            }),
            (None, _) => Err(Refused::NotFound),
            (Some(_), C::Create { .. }) => Err(Refused::AlreadyExists),
            (Some(now), C::Rename { name }) if now.name == name => Err(Refused::Unchanged),
            (Some(_), C::Rename { name }) => Ok(E::TenantRenamed { name }),
            (Some(now), C::Suspend { .. }) if now.suspended => Err(Refused::AlreadySuspended),
            (Some(_), C::Suspend { reason }) => Ok(E::TenantSuspended { reason }),
            (Some(now), C::Resume) if !now.suspended => Err(Refused::NotSuspended),
            (Some(_), C::Resume) => Ok(E::TenantResumed {}),
            (Some(now), C::Carry { carrier, share }) => now.carry(carrier, share),
            (Some(now), C::Release { carrier }) if now.carriers.contains_key(&carrier) => {
                Ok(E::TenantReleased { carrier })
            }
            (Some(_), C::Release { .. }) => Err(Refused::NotCarried),
            (Some(_), C::SetExposure { amount }) if amount.micros < Micros::ZERO => {
                Err(Refused::NegativeExposure)
            }
            (Some(now), C::SetExposure { amount }) if now.exposure == Some(amount) => Err(Refused::Unchanged),
            (Some(_), C::SetExposure { amount }) => Ok(E::ExposureSet { amount }),
        }
    }

    fn fold(&mut self, event: TenantEvent) {
        use TenantEvent as E;

        match (event, &mut self.details) {
            (
                E::TenantCreated {
                    organisation,
                    name,
                    home,
                },
                details,
            ) => {
                *details = Some(TenantDetails {
                    organisation,
                    name,
                    home,
                    suspended: false,
                    carriers: BTreeMap::new(),
                    exposure: None,
                });
            }
            // Each later event was decided on a tenant that exists.
            (_, None) => {}
            (E::TenantRenamed { name }, Some(details)) => details.name = name,
            (E::TenantSuspended { .. }, Some(details)) => details.suspended = true,
            (E::TenantResumed {}, Some(details)) => details.suspended = false,
            (E::TenantCarried { carrier, share }, Some(details)) => {
                details.carriers.insert(carrier, share);
            }
            (E::TenantReleased { carrier }, Some(details)) => {
                details.carriers.remove(&carrier);
            }
            (E::ExposureSet { amount }, Some(details)) => details.exposure = Some(amount),
        }
    }
}

impl TenantDetails {
    /// A carrier that carries already gets the new share in place of its old one.
    fn carry(&self, carrier: OrganisationId, share: Share) -> Result<TenantEvent, TenantError> {
        if carrier == self.organisation {
            return Err(TenantError::CarriesItself);
        }
        if self.carriers.get(&carrier) == Some(&share) {
            return Err(TenantError::Unchanged);
        }
        let others = || self.carriers.iter().filter(|(id, _)| **id != carrier);
        if others().count() >= MAX_CARRIERS {
            return Err(TenantError::TooManyCarriers);
        }
        let left = Share::left_by(others().map(|(_, share)| *share));
        if share.decimal() > left {
            return Err(TenantError::OverCarried { left });
        }
        Ok(TenantEvent::TenantCarried { carrier, share })
    }
}
