//! The signing key at rest: its seed under a fresh data key, that one wrapped by the KMS.
//!
//! Both are bound to their purpose, `signing`, and to the public key (`vault::binding`), so that neither a secret's
//! ciphertext nor another key's passes for this one. Which key it is stands in the clear: who has only the file can say
//! which key is in it, and nobody without the KMS can sign by it. There is no other form in which the key rests.

use std::path::Path;

use counterfoil_events::ids::KeyId;
use counterfoil_events::signature::{KeyPair, PublicKey, Signer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::file::{self, KeyFileError};
use crate::vault::key::NoRandomness;
use crate::vault::{Key, Kms, KmsError, Wrapped, binding, seal};

/// What the file says of itself.
const FORMAT: &str = "counterfoil sealed signing key v1";
/// Longest file: a wrapped key has at most 1 KiB, twice that in hexadecimal digits.
const MAX_BYTES: u64 = 8192;
/// An unsealed key's file: 64 hexadecimal digits.
const SEED_DIGITS: usize = 64;

/// A signing key that cannot be used before the KMS has opened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedKey {
    format: String,
    public_key: PublicKey,
    /// The data key's name.
    data_key: Uuid,
    /// The version of the KEK that wraps the data key.
    kek: String,
    /// The data key, wrapped; hexadecimal.
    wrapped: String,
    /// Nonce, ciphertext and tag of the seed; hexadecimal.
    sealed: String,
}

impl SealedKey {
    /// Seals a seed.
    ///
    /// # Errors
    /// When the KMS does not wrap, or the system gives no random bytes.
    pub async fn seal(kms: &dyn Kms, seed: &[u8; 32]) -> Result<Self, KmsError> {
        let public_key = KeyPair::from_seed(seed).public_key();
        let no_random = |error: NoRandomness| KmsError::Unavailable(error.to_string());
        let (key, name) = (Key::generate().map_err(no_random)?, Uuid::new_v4());
        let place = binding::of_signing_seed(&public_key.to_bytes(), name);
        let sealed = seal::seal(&key, &place, seed).map_err(no_random)?;
        let wrapped = kms.wrap(&key, &wrapped_for(&public_key, name)).await?;
        Ok(Self {
            format: FORMAT.to_owned(),
            public_key,
            data_key: name,
            kek: wrapped.kek,
            wrapped: hex::encode(wrapped.bytes),
            sealed: hex::encode(sealed.0),
        })
    }

    /// Seals a fresh key.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub async fn generate(kms: &dyn Kms) -> Result<Self, KmsError> {
        let mut seed = Zeroizing::new([0u8; 32]);
        let filled = aws_lc_rs::rand::fill(seed.as_mut());
        filled.map_err(|_| KmsError::Unavailable(NoRandomness.to_string()))?;
        Self::seal(kms, &seed).await
    }

    /// Reads a file; nothing is opened.
    ///
    /// # Errors
    /// When it is not there, readable by others, or holds something else: a key in the clear above all.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = file::read_private(path, MAX_BYTES)?;
        let line = text.trim();
        if line.len() == SEED_DIGITS && line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyFileError::Unsealed(path.to_owned()));
        }
        let sealed: Option<Self> = serde_json::from_str(line).ok();
        sealed
            .filter(|sealed| sealed.format == FORMAT)
            .ok_or_else(|| KeyFileError::NotSealed(path.to_owned()))
    }

    /// As it stands in a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Texts only: there is nothing that could fail, and an empty file would be refused.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Which key it is, by its own word.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.public_key.id()
    }

    /// Opens it; `path` is where it was read, for the error.
    ///
    /// # Errors
    /// When the KMS does not give the data key, or what it gives does not open this key.
    pub async fn open(&self, kms: &dyn Kms, path: &Path) -> Result<KeyPair, KeyFileError> {
        let data_key = self.data_key(kms, path).await?;
        let place = binding::of_signing_seed(&self.public_key.to_bytes(), self.data_key);
        let seed = seal::open(&data_key, &place, &bytes(&self.sealed, path)?);
        let seed = seed.map_err(KeyFileError::unopened(path))?;
        let seed: Option<&[u8; 32]> = seed.expose().try_into().ok();
        let key = seed.map(KeyPair::from_seed);
        key.filter(|key| key.public_key() == self.public_key)
            .ok_or_else(|| KeyFileError::NotSealed(path.to_owned()))
    }

    /// The same key, its data key wrapped by the newest version of the KEK; `None` when it is already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn rewrapped(&self, kms: &dyn Kms, path: &Path) -> Result<Option<Self>, KeyFileError> {
        let data_key = self.data_key(kms, path).await?;
        let aad = wrapped_for(&self.public_key, self.data_key);
        let wrapped = kms.wrap(&data_key, &aad).await;
        let wrapped = wrapped.map_err(KeyFileError::of_kms(path))?;
        Ok((wrapped.kek != self.kek).then(|| Self {
            kek: wrapped.kek,
            wrapped: hex::encode(wrapped.bytes),
            ..self.clone()
        }))
    }

    async fn data_key(&self, kms: &dyn Kms, path: &Path) -> Result<Key, KeyFileError> {
        let wrapped = Wrapped {
            kek: self.kek.clone(),
            bytes: bytes(&self.wrapped, path)?,
        };
        let aad = wrapped_for(&self.public_key, self.data_key);
        let key = kms.unwrap_key(&wrapped, &aad).await;
        key.map_err(KeyFileError::of_kms(path))
    }
}

fn wrapped_for(public_key: &PublicKey, data_key: Uuid) -> Vec<u8> {
    binding::of_signing_data_key(&public_key.to_bytes(), data_key)
}

fn bytes(digits: &str, path: &Path) -> Result<Vec<u8>, KeyFileError> {
    hex::decode(digits).map_err(|_| KeyFileError::NotSealed(path.to_owned()))
}
