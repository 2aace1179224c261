//! AES-256-GCM: a value under a key, bound to its place.
//!
//! The nonce is random and comes from the cipher's own generator. A data key seals one value; an organisation's key
//! wraps data keys and a KEK wraps organisations' keys, both far below the 2³² messages that random nonces allow
//! (NIST SP 800-38D, 8.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::key::{Key, NoRandomness, Plaintext};

/// Bytes of the authentication tag.
const TAG_BYTES: usize = 16;

/// Nonce, ciphertext and tag, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

/// Another key, another place, or changed bytes: the cipher does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open: it was changed, or belongs to another key or place")]
pub struct Unopened;

/// Seals a value.
///
/// # Errors
/// [`NoRandomness`].
pub fn seal(key: &Key, aad: &[u8], value: &[u8]) -> Result<Sealed, NoRandomness> {
    // With room for the tag from the start: growing would leave the plaintext behind in memory.
    let mut buffer = Plaintext::new(Vec::with_capacity(value.len() + TAG_BYTES));
    buffer.expose_mut().extend_from_slice(value);
    let nonce = cipher(key)
        .ok_or(NoRandomness)?
        .seal_in_place_append_tag(Aad::from(aad), buffer.expose_mut())
        .map_err(|_| NoRandomness)?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + buffer.expose().len());
    sealed.extend_from_slice(nonce.as_ref());
    sealed.extend_from_slice(buffer.expose());
    Ok(Sealed(sealed))
}

/// Opens what was sealed by the same key for the same place.
///
/// # Errors
/// [`Unopened`].
pub fn open(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Plaintext, Unopened> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(Unopened)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened)?;
    let mut buffer = Plaintext::new(ciphertext.to_vec());
    let opened = cipher(key)
        .ok_or(Unopened)?
        .open_in_place(nonce, Aad::from(aad), buffer.expose_mut())
        .map_err(|_| Unopened)?
        .len();
    buffer.expose_mut().truncate(opened);
    Ok(buffer)
}

/// Wraps a key by another.
///
/// # Errors
/// [`NoRandomness`].
pub fn wrap(by: &Key, aad: &[u8], key: &Key) -> Result<Sealed, NoRandomness> {
    seal(by, aad, key.expose())
}

/// Unwraps a key.
///
/// # Errors
/// [`Unopened`].
pub fn unwrap(by: &Key, aad: &[u8], sealed: &[u8]) -> Result<Key, Unopened> {
    Key::from_bytes(open(by, aad, sealed)?.expose()).ok_or(Unopened)
}

fn cipher(key: &Key) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, key.expose()).ok()
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
