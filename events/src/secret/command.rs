//! What may be asked of a secret. No command holds what it says: that is sealed before.

use crate::ids::{ContentDigest, OrganisationId};
use crate::secret::SecretPurpose;
use crate::text::Code;

/// A command to a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretCommand {
    /// Keep it.
    Store {
        /// What it may be used for.
        purpose: SecretPurpose,
        /// Whose key seals it.
        organisation: OrganisationId,
        /// The digest of version 1's ciphertext.
        sealed: ContentDigest,
    },
    /// Use another value from now on.
    Rotate {
        /// The version that its ciphertext is bound to: the next one.
        version: u32,
        /// The digest of its ciphertext.
        sealed: ContentDigest,
    },
    /// Use it no more, for good.
    Retire {
        /// Why, as a stable code.
        reason: Code,
    },
    /// Record that it is about to be opened.
    Open {
        /// Which version: the newest.
        version: u32,
        /// What for, as a stable code.
        why: Code,
    },
}
