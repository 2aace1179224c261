//! The signing keys of an installation, as the platform log introduces them.
//!
//! Each key has one event there, of aggregate [`AGGREGATE`] and type [`SIGNING_KEY_INTRODUCED`]. The first is
//! signed by the key it introduces, each next one by the key before it. So whoever knows the first key's
//! fingerprint ([`TrustedKeys::rooted_at`]) can tell every key that came after it.

#[cfg(feature = "log")]
mod command;
#[cfg(feature = "log")]
mod error;
#[cfg(feature = "log")]
mod event;
#[cfg(feature = "log")]
mod signing_keys;
pub mod trust;

use serde::{Deserialize, Serialize};

use crate::ids::{Fingerprint, KeyId};
use crate::signature::PublicKey;
#[cfg(feature = "log")]
pub use command::KeyringCommand;
#[cfg(feature = "log")]
pub use error::KeyringError;
#[cfg(feature = "log")]
pub use event::KeyringEvent;
#[cfg(feature = "log")]
pub use signing_keys::{MAX_KEYS, SigningKeys};
pub use trust::{KeyEventProblem, TrustedKeys};

/// The aggregate type of key events.
pub const AGGREGATE: &str = "keyring";
/// The one keyring's id.
pub const AGGREGATE_ID: &str = "keyring";
/// The type of the event that introduces a key.
pub const SIGNING_KEY_INTRODUCED: &str = "SigningKeyIntroduced";
/// The version of its payload.
pub const SIGNING_KEY_INTRODUCED_VERSION: &str = "1.0";

/// Payload of [`SIGNING_KEY_INTRODUCED`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyIntroduced {
    /// Its short name.
    pub key_id: KeyId,
    /// Its 32 bytes, as 64 hexadecimal digits.
    pub public_key: PublicKey,
    /// Its full name.
    pub fingerprint: Fingerprint,
    /// The key before it, which signs this event; none for the first, which signs itself.
    pub previous_key_id: Option<KeyId>,
}

impl SigningKeyIntroduced {
    /// The payload that introduces `key` after `previous`.
    #[must_use]
    pub fn of(key: &PublicKey, previous: Option<KeyId>) -> Self {
        Self {
            key_id: key.id(),
            public_key: *key,
            fingerprint: key.fingerprint(),
            previous_key_id: previous,
        }
    }
}
