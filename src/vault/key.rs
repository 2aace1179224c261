//! Keys and plaintext in memory: wiped when dropped, not copied, not printed.
//!
//! Neither type is `Clone`, `Debug` or `Serialize`, so that the compiler refuses to log one.

use aws_lc_rs::rand;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};
use zeroize::Zeroizing;

/// Bytes of a key of AES-256.
pub const KEY_BYTES: usize = 32;

/// The operating system gives no random bytes: nothing can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes; nothing was sealed")]
pub struct NoRandomness;

/// A key of AES-256.
pub struct Key(SecretBox<[u8; KEY_BYTES]>);

impl Key {
    /// A fresh one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = SecretBox::<[u8; KEY_BYTES]>::default();
        rand::fill(bytes.expose_secret_mut()).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The key that these bytes are, if they are as many as a key has.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let copy = |place: &mut [u8; KEY_BYTES]| place.copy_from_slice(bytes);
        Some(Self(SecretBox::init_with_mut(copy)))
    }

    /// Its bytes, for the cipher and for a KMS.
    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose_secret()
    }
}

/// What a secret says, for as long as one call needs it.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Takes over the bytes; all of their memory is wiped in the end.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. Whoever asks does not copy them to where they would stay.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn expose_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_differ_and_have_the_length_of_a_key() {
        let (one, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert!(Key::from_bytes(&[1; KEY_BYTES - 1]).is_none());
        assert_eq!(Key::from_bytes(one.expose()).unwrap().expose(), one.expose());
    }
}
