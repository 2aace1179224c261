//! What happens to the keyring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SigningKeyIntroduced;
use crate::ids::{Fingerprint, KeyId};
use crate::signature::PublicKey;

/// An event of the keyring, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum KeyringEvent {
    /// From the next event on, this key signs the logs.
    SigningKeyIntroduced {
        /// Its short name: the first eight bytes of the fingerprint.
        key_id: KeyId,
        /// The 32 bytes of RFC 8032.
        public_key: PublicKey,
        /// Its full name.
        fingerprint: Fingerprint,
        /// The key before it, which signed this event; none for the first key, which signed its own.
        previous_key_id: Option<KeyId>,
    },
}

impl From<SigningKeyIntroduced> for KeyringEvent {
    fn from(payload: SigningKeyIntroduced) -> Self {
        Self::SigningKeyIntroduced {
            key_id: payload.key_id,
            public_key: payload.public_key,
            fingerprint: payload.fingerprint,
            previous_key_id: payload.previous_key_id,
        }
    }
}
