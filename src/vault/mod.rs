//! The vault: secrets that are used without being kept in the clear: providers' keys, sources' credentials; and the KMS
//! under which the signing key rests, too (`crate::signing`).
//!
//! Three layers, each sealed by the next (`docs/decisions/0014-key-hierarchy.md`): a secret's value under a fresh data
//! key of its version; the data key under the key of its organisation; that key under the key-encryption key (KEK), which
//! stays in a KMS and never enters this process. There is no mode without a KMS.
//!
//! Rules that every file here keeps: plaintext and keys are in types that are wiped when dropped and cannot be printed;
//! an error says which layer refused, never with what; and every ciphertext is bound to its place (`binding`), so that a
//! row moved elsewhere does not open.

pub mod binding;
pub mod cache;
pub mod key;
pub mod kms;
pub mod renewal;
pub mod rotation;
pub mod seal;
pub mod sealing;
pub mod secrets;
pub mod store;

use std::sync::Arc;

pub use cache::OrganisationKeys;
pub use key::{Key, Plaintext};
use kms::google::{GoogleKms, MetadataToken};
use kms::local::LocalKms;
pub use kms::{Kms, KmsError, Wrapped};
pub use seal::{Sealed, Unopened};
pub use sealing::{Vault, VaultError};
pub use secrets::{SecretUnusable, Secrets};

use crate::config::VaultConfig;

/// The KMS that the configuration names, if it names one; nothing is asked of it yet.
///
/// # Errors
/// When the HTTP client for Google's API cannot be built.
pub fn kms(config: &VaultConfig) -> Result<Option<Arc<dyn Kms>>, reqwest::Error> {
    if let Some(socket) = &config.socket {
        return Ok(Some(Arc::new(LocalKms::new(socket))));
    }
    let Some(key) = &config.google_key else {
        return Ok(None);
    };
    let token = Arc::new(MetadataToken::new()?);
    let google = GoogleKms::new(&config.google_endpoint, key, token)?;
    Ok(Some(Arc::new(google)))
}
