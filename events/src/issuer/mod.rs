//! Issuers: where the users of the platform, or of an organisation, sign in (OpenID Connect Core 1.0).
//!
//! An issuer stands in the platform's log (aggregate id: the [`IssuerId`], derived from URL and audience, so that nobody
//! configures another's a second time) and belongs to one place for good: what it vouches for reaches no further than
//! that place does. Its keys are not here: they are fetched from it, and change as it pleases. Who signs in there as whom
//! is a link of the user's ([`crate::user`]); [`subject`] says how such a link names a subject without saying it.

mod command;
mod error;
mod event;
mod name;
pub mod subject;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::IssuerCommand;
pub use error::IssuerError;
pub use event::IssuerEvent;
pub use name::{Audience, ClaimName, IssuerUrl};

use crate::aggregate::event_sourced;
use crate::ids::IssuerId;
use crate::membership::{Level, Scope};

/// An issuer's state; none before it is configured.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Issuer {
    /// What is known of it.
    pub details: Option<IssuerDetails>,
}

/// What is known of an issuer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerDetails {
    /// How far it reaches: the platform, or an organisation with its tenants.
    pub place: Scope,
    /// Its name in its tokens (`iss`), and where its document is.
    pub url: IssuerUrl,
    /// For whom its tokens must be (`aud`).
    pub audience: Audience,
    /// Which claim names the tenant that a token is bound to.
    pub tenant_claim: Option<ClaimName>,
    /// Whether nobody signs in by it.
    pub suspended: bool,
}

impl IssuerId {
    /// Of the issuer whose tokens say this.
    #[must_use]
    pub fn of(url: &IssuerUrl, audience: &Audience) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026 issuer id v1");
        for part in [url.as_str(), audience.as_str()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut bytes = [0u8; 16];
        hasher.finalize_xof().fill(&mut bytes);
        // A UUID of version 8 (RFC 9562): made of a hash of ours.
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

event_sourced!(
    Issuer,
    "issuer",
    IssuerCommand,
    IssuerError,
    IssuerEvent {
        IssuerConfigured,
        IssuerChanged,
        IssuerSuspended,
        IssuerResumed,
    }
);

impl Issuer {
    fn decide(&self, command: IssuerCommand) -> Result<IssuerEvent, IssuerError> {
        use {IssuerCommand as C, IssuerError as Refused, IssuerEvent as E};

        match (&self.details, command) {
            (Some(_), C::Configure { .. }) => Err(Refused::AlreadyExists),
            (None, C::Configure { place, .. }) if place.level() == Level::Tenant => Err(Refused::OfATenant),
            (
                None,
                C::Configure {
                    place,
                    url,
                    audience,
                    tenant_claim,
                },
            ) => {
                claim_fits(place, tenant_claim.as_ref())?;
                Ok(E::IssuerConfigured {
                    place,
                    url,
                    audience,
                    tenant_claim,
                })
            }
            (None, _) => Err(Refused::NotFound),
            (Some(now), C::Change { tenant_claim }) if now.tenant_claim == tenant_claim => {
                Err(Refused::Unchanged)
            }
            (Some(now), C::Change { tenant_claim }) => {
                claim_fits(now.place, tenant_claim.as_ref())?;
                Ok(E::IssuerChanged { tenant_claim })
            }
            (Some(now), C::Suspend { .. }) if now.suspended => Err(Refused::AlreadySuspended),
            (Some(_), C::Suspend { reason }) => Ok(E::IssuerSuspended { reason }),
            (Some(now), C::Resume) if !now.suspended => Err(Refused::NotSuspended),
            (Some(_), C::Resume) => Ok(E::IssuerResumed {}),
        }
    }

    fn fold(&mut self, event: IssuerEvent) {
        use IssuerEvent as E;

        match (event, &mut self.details) {
            (
                E::IssuerConfigured {
                    place,
                    url,
                    audience,
                    tenant_claim,
                },
                details,
            ) => {
                *details = Some(IssuerDetails {
                    place,
                    url,
                    audience,
                    tenant_claim,
                    suspended: false,
                });
            }
            // Each later event was decided on an issuer that exists.
            (_, None) => {}
            (E::IssuerChanged { tenant_claim }, Some(details)) => details.tenant_claim = tenant_claim,
            (E::IssuerSuspended { .. }, Some(details)) => details.suspended = true,
            (E::IssuerResumed {}, Some(details)) => details.suspended = false,
        }
    }
}

/// The platform has no tenants of its own that a token could be bound to.
fn claim_fits(place: Scope, tenant_claim: Option<&ClaimName>) -> Result<(), IssuerError> {
    match (place, tenant_claim) {
        (Scope::Platform, Some(_)) => Err(IssuerError::ClaimAtThePlatform),
        _ => Ok(()),
    }
}
