//! The envelope: one event as one JSON document, serialised once and never again.
//!
//! The exact bytes that [`EnvelopeFields::serialise`] returns are stored, hashed, signed, published and archived.
//! Readers parse them ([`Envelope::parse`]) but never write them back. Hash, key id and signature stand beside
//! the envelope, never in it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::actor::Actor;
use crate::ids::{EventHash, EventId, KeyId, Position, Sequence, TenantId};
use crate::signature::Signature;
use crate::timestamp::Timestamp;

/// Largest envelope in bytes: an archive entry's length is 16 bits wide.
pub const MAX_ENVELOPE_BYTES: usize = 65_535;

/// The envelope format that this crate writes and reads.
pub const FORMAT_VERSION: u8 = 1;

const HASH_CONTEXT: &str = "counterfoil 2026 event v1";

/// The hash of an envelope's bytes: `blake3::derive_key("counterfoil 2026 event v1", bytes)`.
#[must_use]
pub fn hash(envelope: &[u8]) -> EventHash {
    EventHash(blake3::derive_key(HASH_CONTEXT, envelope))
}

/// What an envelope says, in the order in which it says it.
#[derive(Debug, Serialize)]
pub struct EnvelopeFields<'a> {
    /// [`FORMAT_VERSION`].
    pub v: u8,
    /// Whose log it is in.
    pub tenant: TenantId,
    /// Where in that log.
    pub position: Position,
    /// The event's own id.
    pub event_id: EventId,
    /// The kind of aggregate, such as `agent`.
    pub aggregate: &'a str,
    /// Which one.
    pub aggregate_id: &'a str,
    /// Where in its history.
    pub sequence: Sequence,
    /// The event's type, such as `AgentRegistered`.
    #[serde(rename = "type")]
    pub event_type: &'a str,
    /// The version of the payload's schema.
    pub version: &'a str,
    /// When it was placed: a claim, not an order.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: &'a Actor,
    /// The request that caused it.
    pub request_id: &'a str,
    /// W3C trace context of that request.
    pub traceparent: Option<&'a str>,
    /// The event that caused it, where one did.
    pub causation: Option<EventId>,
    /// Hash of the envelope at the position before; [`EventHash::ZERO`] at position 1.
    pub prev: EventHash,
    /// What happened.
    pub payload: &'a RawValue,
}

/// An envelope over the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event {event_type} has {bytes} bytes; at most {MAX_ENVELOPE_BYTES} fit an envelope: move content into a document"
)]
pub struct EnvelopeTooLarge {
    /// Which event.
    pub event_type: String,
    /// Its length.
    pub bytes: usize,
}

impl EnvelopeFields<'_> {
    /// The envelope's bytes, for good.
    ///
    /// # Errors
    /// When it is over [`MAX_ENVELOPE_BYTES`].
    pub fn serialise(&self) -> Result<String, EnvelopeTooLarge> {
        let mut bytes = Vec::with_capacity(640 + self.payload.get().len());
        let too_large = |bytes| EnvelopeTooLarge {
            event_type: self.event_type.to_owned(),
            bytes,
        };
        // Writing to memory cannot fail, and every field's type serialises.
        serde_json::to_writer(&mut bytes, self).map_err(|_| too_large(usize::MAX))?;
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(too_large(bytes.len()));
        }
        String::from_utf8(bytes).map_err(|error| too_large(error.into_bytes().len()))
    }
}

/// An envelope as read: it borrows from the bytes and keeps the payload unparsed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope<'a> {
    /// [`FORMAT_VERSION`].
    pub v: u8,
    /// Whose log it is in.
    pub tenant: TenantId,
    /// Where in that log.
    pub position: Position,
    /// The event's own id.
    pub event_id: EventId,
    /// The kind of aggregate.
    #[serde(borrow)]
    pub aggregate: Cow<'a, str>,
    /// Which one.
    #[serde(borrow)]
    pub aggregate_id: Cow<'a, str>,
    /// Where in its history.
    pub sequence: Sequence,
    /// The event's type.
    #[serde(rename = "type", borrow)]
    pub event_type: Cow<'a, str>,
    /// The version of the payload's schema.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// When it was placed.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The request that caused it.
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    /// W3C trace context of that request.
    #[serde(borrow)]
    pub traceparent: Option<Cow<'a, str>>,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// Hash of the envelope before.
    pub prev: EventHash,
    /// What happened, unparsed.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

/// Bytes that are no envelope of a format this build knows.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON document that an envelope is.
    #[error("not an envelope: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A later format.
    #[error("envelope format {0}: this build reads format {FORMAT_VERSION}; upgrade it")]
    UnknownFormat(u8),
    /// Other bytes than those that were hashed.
    #[error("its bytes are not those that it was hashed as")]
    Altered,
}

impl<'a> Envelope<'a> {
    /// Reads an envelope.
    ///
    /// # Errors
    /// When it is malformed or of an unknown format.
    pub fn parse(bytes: &'a str) -> Result<Self, EnvelopeError> {
        let envelope: Self = serde_json::from_str(bytes)?;
        if envelope.v == FORMAT_VERSION {
            Ok(envelope)
        } else {
            Err(EnvelopeError::UnknownFormat(envelope.v))
        }
    }
}

/// An event that has its place: the envelope's bytes with what stands beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Whose log it is in.
    pub tenant: TenantId,
    /// Where in that log.
    pub position: Position,
    /// The exact bytes.
    pub envelope: String,
    /// Their hash.
    pub hash: EventHash,
    /// Which key signed.
    pub key_id: KeyId,
    /// The signature over the hash.
    pub signature: Signature,
}

impl RecordedEvent {
    /// Whether its bytes are those that were hashed. Whoever alters the hash as well breaks the chain, which an audit tells.
    #[must_use]
    pub fn has_its_hash(&self) -> bool {
        hash(self.envelope.as_bytes()) == self.hash
    }

    /// Its envelope, parsed.
    ///
    /// # Errors
    /// See [`Envelope::parse`].
    pub fn parse(&self) -> Result<Envelope<'_>, EnvelopeError> {
        Envelope::parse(&self.envelope)
    }
}

/// What a command's caller keeps: the other half of the counterfoil.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose log the event is in.
    pub tenant: TenantId,
    /// Where in that log.
    pub position: Position,
    /// The event's own id.
    pub event_id: EventId,
    /// Hash of its envelope.
    pub hash: EventHash,
    /// Which key signed.
    pub key_id: KeyId,
    /// The signature over the hash.
    pub signature: Signature,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_envelope_is_these_bytes() {
        let payload = RawValue::from_string(r#"{"name":"Ada"}"#.into()).unwrap();
        let fields = EnvelopeFields {
            v: FORMAT_VERSION,
            tenant: "01933b5e-0000-7000-8000-000000000001".parse().unwrap(),
            position: Position(42),
            event_id: EventId("01933b5e-0000-7000-8000-000000000002".parse().unwrap()),
            aggregate: "agent",
            aggregate_id: "a\"1",
            sequence: Sequence(3),
            event_type: "AgentRegistered",
            version: "1.0",
            recorded_at: "2026-11-20T12:00:00.000000Z".parse().unwrap(),
            actor: &Actor::bootstrap(),
            request_id: "r1",
            traceparent: None,
            causation: None,
            prev: EventHash::ZERO,
            payload: &payload,
        };
        let bytes = fields.serialise().unwrap();
        insta::assert_snapshot!(bytes, @r#"{"v":1,"tenant":"01933b5e-0000-7000-8000-000000000001","position":42,"event_id":"01933b5e-0000-7000-8000-000000000002","aggregate":"agent","aggregate_id":"a\"1","sequence":3,"type":"AgentRegistered","version":"1.0","recorded_at":"2026-11-20T12:00:00.000000Z","actor":{"kind":"user","id":"bootstrap"},"request_id":"r1","traceparent":null,"causation":null,"prev":"0000000000000000000000000000000000000000000000000000000000000000","payload":{"name":"Ada"}}"#);
        let read = Envelope::parse(&bytes).unwrap();
        assert_eq!(
            (read.position, read.aggregate_id.as_ref()),
            (Position(42), "a\"1")
        );
        assert_eq!(read.payload.get(), r#"{"name":"Ada"}"#);
    }

    #[test]
    fn an_unknown_field_or_format_is_an_error() {
        assert!(matches!(
            Envelope::parse(r#"{"v":1,"extra":0}"#),
            Err(EnvelopeError::Malformed(_))
        ));
    }
}
