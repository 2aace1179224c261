//! A secret that the platform uses for its owner: a provider's key, a source's credential.
//!
//! It stands in its tenant's log under a name that its owner chooses (aggregate id: the [`SecretName`]). The log says who
//! stored, rotated, opened and retired it, and which version; never what it says. A version's ciphertext lies beside the
//! log and is named by its digest, so that the log tells which ciphertext is the right one. It is stored before the event:
//! a ciphertext without an event is nobody's, an event without a ciphertext could not be kept.

mod command;
mod error;
mod event;
mod name;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::SecretCommand;
pub use error::SecretError;
pub use event::SecretEvent;
pub use name::{SecretName, SecretPurpose, SecretRef};

use crate::aggregate::event_sourced;
use crate::ids::{ContentDigest, OrganisationId};

/// Most versions of one secret: a daily rotation for 27 years.
pub const MAX_VERSIONS: u32 = 10_000;

/// A secret's state; none before it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret {
    /// What is known of it.
    pub details: Option<SecretDetails>,
}

/// What is known of a secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretDetails {
    /// What it may be used for.
    pub purpose: SecretPurpose,
    /// Whose key seals it.
    pub organisation: OrganisationId,
    /// The newest version.
    pub version: u32,
    /// The digest of that version's ciphertext.
    pub sealed: ContentDigest,
    /// Whether it is gone for good.
    pub retired: bool,
}

impl Secret {
    /// The secret, if it can be used.
    #[must_use]
    pub fn in_use(&self) -> Option<&SecretDetails> {
        self.details.as_ref().filter(|details| !details.retired)
    }
}

event_sourced!(
    Secret,
    "secret",
    SecretCommand,
    SecretError,
    SecretEvent {
        SecretStored,
        SecretRotated,
        SecretRetired,
        SecretOpened,
    }
);

impl Secret {
    fn decide(&self, command: SecretCommand) -> Result<SecretEvent, SecretError> {
        use {SecretCommand as C, SecretError as Refused, SecretEvent as E};

        match (&self.details, command) {
            (
                None,
                C::Store {
                    purpose,
                    organisation,
                    sealed,
                },
            ) => Ok(E::SecretStored {
                version: 1,
                purpose,
                organisation,
                sealed,
            }),
            (None, _) => Err(Refused::NotFound),
            (Some(_), C::Store { .. }) => Err(Refused::AlreadyExists),
            (Some(now), _) if now.retired => Err(Refused::Retired),
            (Some(now), C::Rotate { version, .. }) if Some(version) != now.version.checked_add(1) => {
                Err(Refused::NotTheNext { newest: now.version })
            }
            (Some(_), C::Rotate { version, .. }) if version > MAX_VERSIONS => Err(Refused::TooManyVersions),
            (Some(_), C::Rotate { version, sealed }) => Ok(E::SecretRotated { version, sealed }),
            (Some(_), C::Retire { reason }) => Ok(E::SecretRetired { reason }),
            (Some(now), C::Open { version, .. }) if version != now.version => {
                Err(Refused::NotTheNewest { newest: now.version })
            }
            (Some(_), C::Open { version, why }) => Ok(E::SecretOpened { version, why }),
        }
    }

    fn fold(&mut self, event: SecretEvent) {
        use SecretEvent as E;

        match (event, &mut self.details) {
            (
                E::SecretStored {
                    version,
                    purpose,
                    organisation,
                    sealed,
                },
                details,
            ) => {
                *details = Some(SecretDetails {
                    purpose,
                    organisation,
                    version,
                    sealed,
                    retired: false,
                });
            }
            // Each later event was decided on a secret that exists.
            (_, None) | (E::SecretOpened { .. }, _) => {}
            (E::SecretRotated { version, sealed }, Some(details)) => {
                (details.version, details.sealed) = (version, sealed);
            }
            (E::SecretRetired { .. }, Some(details)) => details.retired = true,
        }
    }
}
