//! Newtypes for everything that is counted or named in the log.
//!
//! They exist so that a position is never handed over as a sequence, nor one tenant's id as another's.
//! All of them print as what stands in the envelope.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is not a UUID in the log's spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a UUID of 36 lower-case characters with hyphens")]
pub struct UuidError;

/// Reads a UUID in its one spelling: lower case with hyphens, in envelopes, paths, subjects and files.
fn parse_uuid(text: &str) -> Result<Uuid, UuidError> {
    if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(UuidError);
    }
    Uuid::try_parse(text).map_err(|_| UuidError)
}

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[cfg_attr(feature = "log", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id (UUIDv7, so that ids made later sort later).
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = UuidError;

            fn from_str(text: &str) -> Result<Self, UuidError> {
                parse_uuid(text).map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_text(deserializer)
            }
        }
    };
}

uuid_newtype!(
    /// A tenant: the unit of isolation, with a log of its own.
    TenantId
);
uuid_newtype!(
    /// An event's own id: the receiver's key where delivery is at-least-once.
    EventId
);
uuid_newtype!(
    /// An organisation: a carrier, a group or a company.
    OrganisationId
);
uuid_newtype!(
    /// A supervised AI agent.
    AgentId
);
uuid_newtype!(
    /// A person who may sign in. Says nothing of who it is.
    UserId
);
uuid_newtype!(
    /// One API key of an agent: its name, never the key.
    ApiKeyId
);
uuid_newtype!(
    /// An issuer of sign-ins: derived from what its tokens say, so that two of one kind are one.
    IssuerId
);
uuid_newtype!(
    /// That a user signs in as somebody at an issuer: its name, never as whom.
    SubjectLinkId
);
uuid_newtype!(
    /// One call of a model.
    CompletionId
);
uuid_newtype!(
    /// Where measurements of a key risk indicator come from.
    KriSourceId
);
uuid_newtype!(
    /// One attempt to measure a key risk indicator.
    KriRunId
);

impl TenantId {
    /// The platform's own log: organisations, tenants, signing keys.
    pub const PLATFORM: Self = Self(Uuid::nil());

    /// Whether this is the platform's own log.
    #[must_use]
    pub fn is_platform(self) -> bool {
        self == Self::PLATFORM
    }
}

/// A place in a tenant's log: 1, 2, 3 … without a gap. Position order is commit order.
/// Position 0 is the empty log's head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "log", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// The head of a log in which nothing stands yet.
    pub const ZERO: Self = Self(0);

    /// The place after this one. Saturates, because a verifier also reads numbers that somebody made up.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As Postgres holds it. A log would need 292 years of a million events a microsecond to overflow.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// From a `bigint` column that a CHECK keeps at or above zero.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        Self(u64::try_from(value).unwrap_or(0))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in one aggregate's history: 1, 2, 3 … without a gap; 0 means that it does not exist yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "log", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Of an aggregate that has no events.
    pub const ZERO: Self = Self(0);

    /// The place after this one. Saturates, because a verifier also reads numbers that somebody made up.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As Postgres holds it.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// From a `bigint` column that a CHECK keeps at or above zero.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        Self(u64::try_from(value).unwrap_or(0))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is not the lower-case hexadecimal of the expected number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits")]
pub struct HexError {
    /// How many digits the value has.
    pub expected: usize,
}

pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = HexError { expected: 2 * N };
    // Upper case is refused: two spellings of one hash would be two strings in a hashed document.
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(error);
    }
    let mut bytes = [0u8; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| error)?;
    Ok(bytes)
}

/// Reads a value from its text without copying the text: envelopes hold several, and verifying reads millions.
pub(crate) fn deserialize_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text<T>(std::marker::PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Text<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(std::marker::PhantomData))
}

macro_rules! hex_newtype {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; 2 * $len];
                // The buffer is exactly twice the value's length, the only thing that can fail here.
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = HexError;
            fn from_str(text: &str) -> Result<Self, HexError> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = HexError;
            fn try_from(bytes: &[u8]) -> Result<Self, HexError> {
                bytes.try_into().map(Self).map_err(|_| HexError { expected: 2 * $len })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::ids::deserialize_text(deserializer)
            }
        }

        #[cfg(feature = "log")]
        crate::text::string_schema!($name, { "pattern": format!("^[0-9a-f]{{{}}}$", 2 * $len) });
    };
}

hex_newtype!(
    /// BLAKE3 of an envelope's bytes under the context of events; the link of the chain.
    EventHash,
    32
);
hex_newtype!(
    /// BLAKE3 of a document's bytes under the context of documents; its address.
    DocumentDigest,
    32
);
hex_newtype!(
    /// Plain BLAKE3 of the bytes that a KRI's value was read from, so that anyone can compute it (`b3sum`).
    PayloadDigest,
    32
);
hex_newtype!(
    /// The short name of a signing key: the first eight bytes of its fingerprint.
    KeyId,
    8
);
hex_newtype!(
    /// The full name of a signing key, which an auditor is given out of band.
    Fingerprint,
    32
);

hex_newtype!(
    /// Plain BLAKE3 of content that passed through and was not kept (a request's body, an answer as sent): what `b3sum`
    /// prints. `docs/events.md` says of each digest what is hashed and how.
    ContentDigest,
    32
);
hex_newtype!(
    /// BLAKE3 of a policy's input, as compact JSON, under the context of policy inputs (`docs/policy-contract.md`): not plain,
    /// since the JSON is a form of ours and nobody has it as a file.
    PolicyInputDigest,
    32
);
hex_newtype!(
    /// The keyed hash of an agent's API key: what is kept of a key that is shown once.
    ApiKeyHash,
    32
);

hex_newtype!(
    /// What a link to a subject is held to, without saying which subject: a hash under a salt that lies beside the log.
    SubjectCommitment,
    32
);

impl ContentDigest {
    /// The plain BLAKE3 of `content`, so that whoever has it can check it with common tools.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }
}

impl PolicyInputDigest {
    const CONTEXT: &str = "counterfoil 2026 policy input v1";

    /// Of an input's JSON text.
    #[must_use]
    pub fn of(json: &[u8]) -> Self {
        Self(blake3::derive_key(Self::CONTEXT, json))
    }
}

impl EventHash {
    /// What `prev` holds at position 1: 64 zeros.
    pub const ZERO: Self = Self([0; 32]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hash_prints_as_64_lower_case_digits_and_reads_back() {
        let hash = EventHash([0xab; 32]);
        assert_eq!(hash.to_string(), "ab".repeat(32));
        assert_eq!(hash.to_string().parse::<EventHash>().unwrap(), hash);
    }

    #[test]
    fn a_second_spelling_of_a_hash_is_refused() {
        assert!("AB".repeat(32).parse::<EventHash>().is_err());
        assert!("ab".repeat(31).parse::<EventHash>().is_err());
    }

    #[test]
    fn a_tenant_has_one_spelling() {
        let id = "01933b5e-0000-7000-8000-000000000001";
        assert_eq!(id.parse::<TenantId>().unwrap().to_string(), id);
        assert!(id.replace('-', "").parse::<TenantId>().is_err());
        assert!(format!("{{{id}}}").parse::<TenantId>().is_err());
        assert!(id.to_uppercase().parse::<TenantId>().is_err());
        assert!(serde_json::from_str::<EventId>(&format!("\"urn:uuid:{id}\"")).is_err());
    }
}
