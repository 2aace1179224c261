//! Where the key-encryption key is: a KMS wraps and unwraps organisations' keys and never gives the KEK away.
//!
//! **Contract of [`Kms`].** `wrap` seals a key under the newest version of the KEK, bound to `aad`, and says which version
//! that was. `unwrap_key` gives the key back for the same `aad` only, under any version that the KMS still holds. Both
//! end within the implementation's time limit. An error tells a KMS that cannot be asked ([`KmsError::Unavailable`]: try
//! again) from one that was asked and says no ([`KmsError::Refused`]: trying again does not help); no error holds a key,
//! wrapped or not. Two implementations keep it, and both run the suite in `conformance.rs`: the local key process
//! ([`local`]) and Google Cloud KMS ([`google`]).

#[cfg(test)]
mod conformance;
pub mod google;
pub mod local;
pub mod watched;

use futures::future::BoxFuture;

use super::key::Key;

/// Most bytes of a wrapped key: the local process needs 60, Google adds about 50.
pub const WRAPPED_BYTES_MAX: usize = 1024;
/// Most bytes of additional authenticated data.
pub const AAD_BYTES_MAX: usize = 1024;

/// A key as a KMS wrapped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The version of the KEK, in the KMS's own words.
    pub kek: String,
    /// The wrapped key.
    pub bytes: Vec<u8>,
}

/// A KMS did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    /// It could not be asked, or not answer: later it may.
    #[error("the KMS is unavailable: {0}")]
    Unavailable(String),
    /// It was asked, and refused.
    #[error("the KMS refused: {0}")]
    Refused(String),
    /// Its answer is not what it says it is: damaged on the way, or not from a KMS at all.
    #[error("the KMS's answer cannot be trusted: {0}")]
    Damaged(String),
}

/// What nothing is ever sealed for.
const PROBE: &[u8] = b"counterfoil vault probe v1";

/// Asks a KMS to wrap a fresh key, which is then forgotten: the smallest question that takes the KEK to answer.
///
/// # Errors
/// As [`Kms::wrap`].
pub async fn probe(kms: &dyn Kms) -> Result<(), KmsError> {
    let key = Key::generate().map_err(|error| KmsError::Unavailable(error.to_string()))?;
    kms.wrap(&key, PROBE).await.map(drop)
}

/// Wraps and unwraps keys. See the module's contract.
pub trait Kms: Send + Sync {
    /// Wraps `key`, bound to `aad`.
    fn wrap<'a>(&'a self, key: &'a Key, aad: &'a [u8]) -> BoxFuture<'a, Result<Wrapped, KmsError>>;

    /// Unwraps what was wrapped with the same `aad`.
    fn unwrap_key<'a>(&'a self, wrapped: &'a Wrapped, aad: &'a [u8]) -> BoxFuture<'a, Result<Key, KmsError>>;
}
