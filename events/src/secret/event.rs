//! What happens to a secret. Who did it is in the envelope; what the secret says is nowhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ContentDigest, OrganisationId};
use crate::secret::SecretPurpose;
use crate::text::Code;

/// An event of a secret, in its tenant's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum SecretEvent {
    /// The secret exists.
    SecretStored {
        /// Always 1.
        version: u32,
        /// What it may be used for.
        purpose: SecretPurpose,
        /// Whose key seals it.
        organisation: OrganisationId,
        /// Digest of the version's ciphertext.
        sealed: ContentDigest,
    },
    /// From here on, the secret is another value.
    SecretRotated {
        /// The version that it is now.
        version: u32,
        /// Digest of the version's ciphertext.
        sealed: ContentDigest,
    },
    /// The secret is gone for good; its ciphertexts are deleted.
    SecretRetired {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The secret was about to be opened.
    SecretOpened {
        /// Which version.
        version: u32,
        /// What for, as a stable code.
        why: Code,
    },
}
