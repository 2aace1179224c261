//! API keys of agents: `cfk_<prefix>_<secret>`, shown once and kept as a keyed hash.
//!
//! *prefix* is the last 8 hexadecimal digits of the key's id (a UUIDv7 begins with the time and ends with chance, so
//! these tell keys apart): it shows which key somebody holds, and finds the candidates for a presented one.
//! *secret* is 32 random bytes in base64url without padding, 43 characters. What is kept is
//! `blake3::keyed_hash(pepper, whole key)`: the pepper is the server's, so that the log alone lets nobody test
//! guesses, and 256 random bits need no slow hash. Hashes are compared in constant time.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ids::{ApiKeyHash, ApiKeyId};

/// How every key begins, so that secret scanners and people know one when they see it.
pub const KEY_MARK: &str = "cfk_";
/// How every token of a user begins; otherwise it is made and kept as a key is. The mark is hashed with the rest, so
/// that neither is ever taken for the other.
pub const TOKEN_MARK: &str = "cfu_";
/// How every session of a user begins, likewise.
pub const SESSION_MARK: &str = "cfs_";
/// How every credential of a subscriber by NATS begins, likewise.
pub const SUBSCRIBER_MARK: &str = "cfn_";
/// Characters of the prefix.
pub const PREFIX_CHARS: usize = 8;
/// Characters of the secret.
pub const SECRET_CHARS: usize = 43;
/// Characters of a whole key.
pub const KEY_CHARS: usize = KEY_MARK.len() + PREFIX_CHARS + 1 + SECRET_CHARS;

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Text that is not a key. It says nothing of the text: a mistyped key is still almost a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key of the form cfk_<8 characters>_<43 characters>")]
pub struct NotAKey;

/// The public part of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPrefix([u8; PREFIX_CHARS]);

impl KeyPrefix {
    /// Of the key with this id.
    #[must_use]
    pub fn of(id: ApiKeyId) -> Self {
        let mut digits = [0u8; 36];
        id.0.hyphenated().encode_lower(&mut digits);
        let mut prefix = [0u8; PREFIX_CHARS];
        prefix.copy_from_slice(&digits[36 - PREFIX_CHARS..]);
        Self(prefix)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only hexadecimal digits get in: by `of`, and by the check in `from_str`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPrefix({self})")
    }
}

impl FromStr for KeyPrefix {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let bytes: [u8; PREFIX_CHARS] = text.as_bytes().try_into().map_err(|_| NotAKey)?;
        let hexadecimal = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if bytes.iter().all(hexadecimal) {
            Ok(Self(bytes))
        } else {
            Err(NotAKey)
        }
    }
}

/// The server's secret under which keys are hashed: 32 bytes, kept outside of the log.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyPepper([u8; 32]);

impl KeyPepper {
    /// From the 32 bytes that the server keeps.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh one.
    #[must_use]
    pub fn generate() -> Self {
        Self(random_bytes("counterfoil 2026 key pepper v1"))
    }

    /// The bytes, to be written where the server keeps them.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn hash(&self, key: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.0, key.as_bytes())
    }
}

impl fmt::Debug for KeyPepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPepper(…)")
    }
}

/// A key as somebody presents it. Its text is wiped when it goes, and never printed.
#[derive(Clone)]
pub struct PresentedKey {
    prefix: KeyPrefix,
    text: Zeroizing<String>,
}

impl PresentedKey {
    /// Reads a key.
    ///
    /// # Errors
    /// Anything that is not of a key's form.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        Self::parse_marked(KEY_MARK, text)
    }

    /// Reads what begins with this mark, and is a key otherwise.
    ///
    /// # Errors
    /// Anything that is not of that form.
    pub fn parse_marked(mark: &str, text: &str) -> Result<Self, NotAKey> {
        let rest = text.strip_prefix(mark).ok_or(NotAKey)?;
        // By length and not by `_`, which also occurs inside of secrets.
        let (prefix, secret) = rest.split_at_checked(PREFIX_CHARS).ok_or(NotAKey)?;
        let secret = secret.strip_prefix('_').ok_or(NotAKey)?;
        if secret.len() != SECRET_CHARS || !secret.bytes().all(|byte| BASE64URL.contains(&byte)) {
            return Err(NotAKey);
        }
        Ok(Self {
            prefix: prefix.parse()?,
            text: Zeroizing::new(text.to_owned()),
        })
    }

    /// Its public part, by which candidates are found.
    #[must_use]
    pub fn prefix(&self) -> KeyPrefix {
        self.prefix
    }

    /// Its hash under a pepper, computed once to be compared with every candidate.
    #[must_use]
    pub fn hash(&self, pepper: &KeyPepper) -> PresentedHash {
        PresentedHash(pepper.hash(&self.text))
    }
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}_…)", self.prefix)
    }
}

/// The hash of a presented key.
#[derive(Clone, Copy)]
pub struct PresentedHash(blake3::Hash);

impl PresentedHash {
    /// Whether it is the hash that was kept, in the same time wherever the two differ.
    #[must_use]
    pub fn matches(&self, kept: &ApiKeyHash) -> bool {
        // `blake3::Hash` compares in constant time.
        self.0 == blake3::Hash::from_bytes(kept.0)
    }
}

/// A key just made: its text is given to the caller once and kept nowhere.
pub struct IssuedKey {
    /// Names the key.
    pub id: ApiKeyId,
    /// What is kept.
    pub hash: ApiKeyHash,
    text: Zeroizing<String>,
}

impl IssuedKey {
    /// Makes a key from the operating system's randomness.
    #[must_use]
    pub fn generate(pepper: &KeyPepper) -> Self {
        Self::generate_marked(KEY_MARK, pepper)
    }

    /// The same with another mark.
    #[must_use]
    pub fn generate_marked(mark: &str, pepper: &KeyPepper) -> Self {
        let id = ApiKeyId::generate();
        let secret = Zeroizing::new(random_bytes("counterfoil 2026 key secret v1"));
        let text = Zeroizing::new(format!("{mark}{}_{}", KeyPrefix::of(id), *base64url(&secret)));
        let hash = ApiKeyHash(*pepper.hash(&text).as_bytes());
        Self { id, hash, text }
    }

    /// The whole key, to be shown once.
    #[must_use]
    pub fn expose_text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedKey({})", self.id)
    }
}

/// 32 bytes from the operating system's randomness. A version 4 UUID carries 122 bits of it; four of them are
/// condensed to 256.
fn random_bytes(context: &'static str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for _ in 0..4 {
        hasher.update(Uuid::new_v4().as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// RFC 4648 §5 without padding.
fn base64url(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(SECRET_CHARS));
    for group in bytes.chunks(3) {
        let mut bits = [0u8; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let value = u32::from_be_bytes(bits);
        for at in 0..=group.len() {
            let index = (value >> (18 - 6 * at)) & 63;
            text.push(char::from(BASE64URL[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn pepper() -> KeyPepper {
        KeyPepper::new([7; 32])
    }

    #[test]
    fn a_key_that_was_issued_is_read_and_matches_its_hash_alone() {
        let (key, other) = (IssuedKey::generate(&pepper()), IssuedKey::generate(&pepper()));
        assert_eq!(key.expose_text().len(), KEY_CHARS);
        let presented = PresentedKey::parse(key.expose_text()).unwrap();
        assert_eq!(presented.prefix(), KeyPrefix::of(key.id));
        assert!(key.id.to_string().ends_with(presented.prefix().as_str()));
        assert!(presented.hash(&pepper()).matches(&key.hash));
        assert!(!presented.hash(&pepper()).matches(&other.hash));
        assert!(!presented.hash(&KeyPepper::new([8; 32])).matches(&key.hash));
    }

    #[test]
    fn what_is_kept_and_printed_does_not_hold_the_secret() {
        let key = IssuedKey::generate(&pepper());
        let presented = PresentedKey::parse(key.expose_text()).unwrap();
        let secret = &key.expose_text()[KEY_CHARS - SECRET_CHARS..];
        for text in [
            format!("{key:?}"),
            format!("{presented:?}"),
            key.hash.to_string(),
            format!("{:?}", pepper()),
        ] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn two_peppers_and_two_keys_differ() {
        assert_ne!(
            KeyPepper::generate().expose_bytes(),
            KeyPepper::generate().expose_bytes()
        );
        let keys = [IssuedKey::generate(&pepper()), IssuedKey::generate(&pepper())];
        assert_ne!(keys[0].expose_text(), keys[1].expose_text());
    }

    #[test]
    fn base64url_agrees_with_the_rfc() {
        let mut bytes = [0u8; 32];
        assert_eq!(*base64url(&bytes), "A".repeat(43));
        bytes[..6].copy_from_slice(b"foobar");
        assert!(base64url(&bytes).starts_with("Zm9vYmFy"));
        assert_eq!(*base64url(&[0xff; 32]), format!("{}8", "_".repeat(42)));
    }

    proptest! {
        #[test]
        fn nothing_but_a_key_is_read_as_one(text in "(cfk_)?[a-f2-9]{7,9}_[A-Za-z0-9_-]{42,44}|.{0,60}") {
            let bytes = text.as_bytes();
            let well_formed = bytes.len() == KEY_CHARS
                && bytes.starts_with(KEY_MARK.as_bytes())
                && bytes[KEY_MARK.len()..][..PREFIX_CHARS].iter().all(u8::is_ascii_hexdigit)
                && bytes[KEY_MARK.len() + PREFIX_CHARS] == b'_'
                && bytes[KEY_CHARS - SECRET_CHARS..].iter().all(|b| BASE64URL.contains(b));
            prop_assert_eq!(PresentedKey::parse(&text).is_ok(), well_formed);
        }
    }
}
