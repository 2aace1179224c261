//! Tenants: the units of isolation, each with a log of its own; who carries their risk, and how large it is.
//!
//! A tenant's history stands in the platform's log (aggregate id: the [`TenantId`]), what happens *in* it in its
//! own. A tenant belongs to one organisation and may be carried by several carriers, whose shares add up to one
//! whole at most; what is missing is the organisation's own retention. That a carrier exists and may carry is
//! checked by the caller, since it stands in another aggregate.
//!
//! It ends in three steps, each a command and none to be taken back: suspended, so that nothing comes in; closed, with a
//! date until which everything is kept; and, after that date, erased: the ciphertexts of its secrets go and what links
//! people to it, its log stays.
//!
//! [`TenantId`]: crate::ids::TenantId

mod command;
mod error;
mod event;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::TenantCommand;
pub use error::TenantError;
pub use event::TenantEvent;
pub use share::{Share, ShareError};

use crate::aggregate::event_sourced;
use crate::ids::OrganisationId;
use crate::membership::Level;
use crate::money::{Micros, Money};
use crate::text::{Code, Name};
use crate::timestamp::Timestamp;

/// Most carriers of one tenant. Co-insurance panels have a handful; the limit bounds the state and the rollups.
pub const MAX_CARRIERS: usize = 32;
/// Longest retention: thirty years, the longest that liability for what an insured did may take to lapse.
pub const MAX_RETENTION: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

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
    /// From where it is suspended, if it is.
    pub suspended: Option<Level>,
    /// Who carries which share of its risk.
    pub carriers: BTreeMap<OrganisationId, Share>,
    /// How much is at risk in it, once somebody said so.
    pub exposure: Option<Money>,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<TenantEnd>,
}

/// The end of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantEnd {
    /// Until when everything of it is kept.
    pub retain_until: Timestamp,
    /// Whether what can be erased was erased.
    pub erased: bool,
}

event_sourced!(
    Tenant,
    "tenant",
    TenantCommand,
    TenantError,
    TenantEvent {
        TenantCreated,
        TenantRenamed,
        TenantSuspended = event::SUSPENDED,
        TenantResumed,
        TenantCarried,
        TenantReleased,
        ExposureSet,
        TenantClosed,
        TenantErased,
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
            (Some(now), C::Erase { secrets, now: time }) => {
                now.may_be_erased(time).map(|()| E::TenantErased { secrets })
            }
            // It can be renamed, carried or resumed no more.
            (Some(now), _) if now.end.is_some() => Err(Refused::Closed),
            (
                Some(details),
                C::Close {
                    reason,
                    retain_until,
                    now,
                },
            ) => details.close(reason, retain_until, now),
            (Some(now), C::Rename { name }) if now.name == name => Err(Refused::Unchanged),
            (Some(_), C::Rename { name }) => Ok(E::TenantRenamed { name }),
            (Some(now), C::Suspend { reason, level }) => match now.suspended {
                Some(already) if already <= level => Err(Refused::AlreadySuspended),
                _ => Ok(E::TenantSuspended { reason, level }),
            },
            (Some(now), C::Resume { level }) => match now.suspended {
                None => Err(Refused::NotSuspended),
                Some(above) if above < level => Err(Refused::SuspendedAbove),
                Some(_) => Ok(E::TenantResumed {}),
            },
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
                    suspended: None,
                    carriers: BTreeMap::new(),
                    exposure: None,
                    end: None,
                });
            }
            // Each later event was decided on a tenant that exists.
            (_, None) => {}
            (E::TenantRenamed { name }, Some(details)) => details.name = name,
            (E::TenantSuspended { level, .. }, Some(details)) => details.suspended = Some(level),
            (E::TenantResumed {}, Some(details)) => details.suspended = None,
            (E::TenantCarried { carrier, share }, Some(details)) => {
                details.carriers.insert(carrier, share);
            }
            (E::TenantReleased { carrier }, Some(details)) => {
                details.carriers.remove(&carrier);
            }
            (E::ExposureSet { amount }, Some(details)) => details.exposure = Some(amount),
            (E::TenantClosed { retain_until, .. }, Some(details)) => {
                details.end = Some(TenantEnd {
                    retain_until,
                    erased: false,
                });
            }
            (E::TenantErased { .. }, Some(details)) => {
                if let Some(end) = &mut details.end {
                    end.erased = true;
                }
            }
        }
    }
}

impl TenantDetails {
    fn close(
        &self,
        reason: Code,
        retain_until: Timestamp,
        now: Timestamp,
    ) -> Result<TenantEvent, TenantError> {
        if self.home {
            return Err(TenantError::HomeTenant);
        }
        if self.suspended.is_none() {
            return Err(TenantError::SuspendFirst);
        }
        let latest = now.checked_add(MAX_RETENTION);
        if retain_until < now || latest.is_none_or(|latest| retain_until > latest) {
            return Err(TenantError::Retention);
        }
        Ok(TenantEvent::TenantClosed { reason, retain_until })
    }

    /// Whether it may be erased at this moment: it is closed, its time is over, and it was not erased before.
    ///
    /// # Errors
    /// Why not.
    pub fn may_be_erased(&self, now: Timestamp) -> Result<(), TenantError> {
        match self.end {
            None => Err(TenantError::NotClosed),
            Some(TenantEnd { erased: true, .. }) => Err(TenantError::AlreadyErased),
            Some(end) if now < end.retain_until => Err(TenantError::Retained(end.retain_until)),
            Some(_) => Ok(()),
        }
    }

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
