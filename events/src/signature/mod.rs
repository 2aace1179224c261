//! Ed25519 signatures over event hashes (RFC 8032), and the names of keys.
//!
//! What is signed is `"counterfoil event v1\n"` followed by the 32 raw bytes of the hash. Verification is strict
//! (small-order keys and non-canonical encodings are refused), so one event has one valid signature per key and
//! every verifier agrees.

#[cfg(feature = "log")]
mod key_pair;
mod tables;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use ed25519_dalek::VerifyingKey;
#[cfg(feature = "log")]
pub use key_pair::KeyPair;
use serde::{Deserialize, Serialize};

use crate::ids::{EventHash, Fingerprint, HexError, KeyId};
use tables::KeyTables;

const EVENT_DOMAIN: &[u8; 21] = b"counterfoil event v1\n";
const FINGERPRINT_CONTEXT: &str = "counterfoil 2026 public key v1";

/// An Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl std::str::FromStr for Signature {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        crate::ids::parse_hex(text).map(Self)
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = HexError;

    fn try_from(bytes: &[u8]) -> Result<Self, HexError> {
        bytes.try_into().map(Self).map_err(|_| HexError { expected: 128 })
    }
}

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::deserialize_text(deserializer)
    }
}

/// A public key that verifies events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(VerifyingKey);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let bytes: [u8; 32] = crate::ids::parse_hex(text).map_err(|_| InvalidPublicKey)?;
        Self::from_bytes(&bytes)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::deserialize_text(deserializer)
    }
}

/// Bytes that are no usable Ed25519 public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a usable Ed25519 public key: 32 bytes (64 lower-case digits), a point on the curve, not of small order"
)]
pub struct InvalidPublicKey;

impl PublicKey {
    /// From the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// When they are no point on the curve, or one of small order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidPublicKey> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| InvalidPublicKey)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidPublicKey)?;
        if key.is_weak() {
            Err(InvalidPublicKey)
        } else {
            Ok(Self(key))
        }
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its full name: `blake3::derive_key("counterfoil 2026 public key v1", bytes)`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(blake3::derive_key(FINGERPRINT_CONTEXT, self.0.as_bytes()))
    }

    /// Its short name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let Fingerprint(full) = self.fingerprint();
        let mut id = [0u8; 8];
        id.copy_from_slice(&full[..8]);
        KeyId(id)
    }

    /// Whether `signature` is this key's over the event with this hash.
    #[must_use]
    pub fn verifies(&self, hash: &EventHash, signature: &Signature) -> bool {
        self.verifies_message(&event_message(hash), signature)
    }

    /// Whether `signature` is this key's over `message` (head notes have a message of their own).
    #[must_use]
    pub fn verifies_message(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

#[cfg(feature = "log")]
crate::text::string_schema!(PublicKey, { "pattern": "^[0-9a-f]{64}$" });

/// The bytes that are signed for an event.
fn event_message(hash: &EventHash) -> [u8; 53] {
    let mut message = [0u8; 53];
    message[..21].copy_from_slice(EVENT_DOMAIN);
    message[21..].copy_from_slice(&hash.0);
    message
}

/// Signs events. The key is loaded at start and held, so an outage of its store blocks only start and rotation.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> PublicKey;
    /// Signs `message` as it is.
    fn sign_message(&self, message: &[u8]) -> Signature;

    /// Signs the event with this hash.
    fn sign(&self, hash: &EventHash) -> Signature {
        self.sign_message(&event_message(hash))
    }
}

/// The public keys that may have signed a log, by their short names.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: HashMap<KeyId, Key>,
}

/// A key, and the tables for checking many signatures by it once it is asked to.
#[derive(Clone, Debug)]
struct Key {
    public: PublicKey,
    tables: Arc<OnceLock<KeyTables>>,
}

impl Key {
    fn new(public: PublicKey) -> Self {
        Self {
            public,
            tables: Arc::default(),
        }
    }
}

/// Two different keys with the same short name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two public keys share the id {0}: refuse the newer one")]
pub struct KeyIdTaken(pub KeyId);

impl Keyring {
    /// Adds a key; adding it again changes nothing.
    ///
    /// # Errors
    /// When another key has its short name.
    pub fn add(&mut self, key: PublicKey) -> Result<KeyId, KeyIdTaken> {
        let id = key.id();
        let kept = self.keys.entry(id).or_insert_with(|| Key::new(key));
        if kept.public == key {
            Ok(id)
        } else {
            Err(KeyIdTaken(id))
        }
    }

    /// The key with this short name.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&PublicKey> {
        self.keys.get(&id).map(|key| &key.public)
    }

    /// Whether `signature` is that key's over the event with this hash; none if there is no such key. The same verdict
    /// as [`PublicKey::verifies`], several times as fast from the second signature on.
    #[must_use]
    pub fn verifies(&self, id: KeyId, hash: &EventHash, signature: &Signature) -> Option<bool> {
        let Key { public, tables } = self.keys.get(&id)?;
        let tables = tables.get_or_init(|| KeyTables::of(&public.0));
        Some(tables.verifies(&event_message(hash), signature))
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_own_hash_and_key_only() {
        let (ours, other) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
        let signature = ours.sign(&EventHash([7; 32]));
        assert!(ours.public_key().verifies(&EventHash([7; 32]), &signature));
        assert!(!ours.public_key().verifies(&EventHash([8; 32]), &signature));
        assert!(!other.public_key().verifies(&EventHash([7; 32]), &signature));
        assert!(
            !ours.public_key().verifies_message(&[7; 32], &signature),
            "the domain is part of what is signed"
        );
    }

    #[test]
    fn a_second_spelling_of_a_signature_is_refused() {
        assert!("ab".repeat(64).parse::<Signature>().is_ok());
        assert!("AB".repeat(64).parse::<Signature>().is_err());
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        let mut identity = [0u8; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(InvalidPublicKey));
    }
}
