//! How an event looks on the wire: the body is the envelope's exact bytes; what stands beside it is in headers.
//!
//! `Nats-Msg-Id: <tenant>:<position>:<first 16 hex of hash>` and `Counterfoil-Position, -Type, -Aggregate-Id, -Hash,
//! -Key-Id, -Signature`. Header values and subject tokens are percent-encoded where NATS could not carry them, so that
//! no event can fail to be published.

use std::fmt::Write;

use async_nats::HeaderMap;
use async_nats::header::HeaderValue;
use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID};

use crate::backbone::stream::StreamPrefix;
use crate::envelope::{self, RecordedEvent};
use crate::ids::{EventHash, KeyId, Position, TenantId};
use crate::ledger::StoredEvent;
use crate::signature::Signature;
use crate::verify::Columns;

const POSITION: &str = "Counterfoil-Position";
const TYPE: &str = "Counterfoil-Type";
const AGGREGATE_ID: &str = "Counterfoil-Aggregate-Id";
const HASH: &str = "Counterfoil-Hash";
const KEY_ID: &str = "Counterfoil-Key-Id";
const SIGNATURE: &str = "Counterfoil-Signature";

/// What a message's subject and headers say about its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Whose log it is in.
    pub tenant: TenantId,
    /// Where in that log.
    pub position: Position,
    /// The envelope's hash.
    pub hash: EventHash,
    /// Which key signed.
    pub key_id: KeyId,
    /// The signature over the hash.
    pub signature: Signature,
}

/// A message that is no event of ours, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Its subject names no tenant.
    #[error("the subject {0:?} names no tenant's events")]
    Subject(String),
    /// A header is missing or not of its form.
    #[error("the header {name} of a message on {subject} is {found}")]
    Header {
        /// Where the message is.
        subject: String,
        /// Which.
        name: &'static str,
        /// `missing`, or what it holds.
        found: String,
    },
    /// The body is not the text that was hashed.
    #[error(
        "the body of tenant {tenant}'s message for position {position} does not have the hash of its header"
    )]
    Body {
        /// Whose.
        tenant: TenantId,
        /// Where.
        position: Position,
    },
}

impl Stamp {
    /// Reads subject and headers.
    ///
    /// # Errors
    /// When one of them is missing or malformed.
    pub fn read(
        prefix: &StreamPrefix,
        subject: &str,
        headers: Option<&HeaderMap>,
    ) -> Result<Self, MessageError> {
        let (tenant, _) = prefix
            .parse_subject(subject)
            .ok_or_else(|| MessageError::Subject(subject.to_owned()))?;
        Ok(Self {
            tenant,
            position: Position(header(subject, headers, POSITION)?),
            hash: header(subject, headers, HASH)?,
            key_id: header(subject, headers, KEY_ID)?,
            signature: header(subject, headers, SIGNATURE)?,
        })
    }
}

fn header<T: std::str::FromStr>(
    subject: &str,
    headers: Option<&HeaderMap>,
    name: &'static str,
) -> Result<T, MessageError> {
    let found = headers
        .and_then(|headers| headers.get(name))
        .map(|value| value.as_str());
    found
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| MessageError::Header {
            subject: subject.to_owned(),
            name,
            found: found.map_or_else(|| "missing".to_owned(), |value| format!("{value:?}")),
        })
}

/// Reads a whole message and checks its body against the hash in its headers. Neither signature nor chain is checked.
///
/// # Errors
/// When the message is not an event of ours or its body is damaged.
pub fn decode(
    prefix: &StreamPrefix,
    subject: &str,
    headers: Option<&HeaderMap>,
    body: &[u8],
) -> Result<RecordedEvent, MessageError> {
    let stamp = Stamp::read(prefix, subject, headers)?;
    let damaged = MessageError::Body {
        tenant: stamp.tenant,
        position: stamp.position,
    };
    if envelope::hash(body) != stamp.hash {
        return Err(damaged);
    }
    Ok(RecordedEvent {
        tenant: stamp.tenant,
        position: stamp.position,
        envelope: String::from_utf8(body.to_vec()).map_err(|_| damaged)?,
        hash: stamp.hash,
        key_id: stamp.key_id,
        signature: stamp.signature,
    })
}

/// The fields of the envelope that subject and headers repeat; what is missing is an empty text, which none of them is.
pub(super) fn beside(prefix: &StreamPrefix, subject: &str, headers: Option<&HeaderMap>) -> Columns {
    let value = |name| {
        headers
            .and_then(|headers| headers.get(name))
            .map(HeaderValue::as_str)
    };
    let decoded = |text: Option<&str>| Some(decode_text(text.unwrap_or_default()));
    Columns {
        aggregate: decoded(prefix.parse_subject(subject).map(|(_, aggregate)| aggregate)),
        aggregate_id: decoded(value(AGGREGATE_ID)),
        event_type: decoded(value(TYPE)),
        ..Columns::default()
    }
}

/// What the ledger's row of an event would hold. None when the envelope is not of the tenant and position that it was
/// published under.
pub(super) fn stored(recorded: RecordedEvent) -> Option<StoredEvent> {
    let envelope = recorded.parse().ok()?;
    if (envelope.tenant, envelope.position) != (recorded.tenant, recorded.position) {
        return None;
    }
    let (event_id, sequence, recorded_at) = (envelope.event_id, envelope.sequence, envelope.recorded_at);
    let aggregate = envelope.aggregate.into_owned();
    let aggregate_id = envelope.aggregate_id.into_owned();
    let event_type = envelope.event_type.into_owned();
    let version = envelope.version.into_owned();
    Some(StoredEvent {
        event_id,
        aggregate,
        aggregate_id,
        sequence,
        event_type,
        version,
        recorded_at,
        recorded,
    })
}

/// What a message must directly follow in the stream: the fence. The sequence alone would not do: when messages are
/// under way together and the first of them is refused, a stranger's message could take its place and let the second
/// one in. So each also names the message that it follows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Follows {
    /// The stream's last sequence.
    pub(super) sequence: u64,
    /// The last message's id, where it is ours.
    pub(super) id: Option<String>,
}

/// The id of an event's message. `again` makes it another one, for an event whose message is gone from the stream while
/// the server still remembers its id.
pub(super) fn id(event: &RecordedEvent, again: Option<u64>) -> String {
    let hash = event.hash.to_string();
    let id = format!("{}:{}:{}", event.tenant, event.position, &hash[..16]);
    match again {
        Some(sequence) => format!("{id}:{sequence}"),
        None => id,
    }
}

/// The headers of an event's message.
pub(super) fn headers(event: &StoredEvent, id: &str, follows: &Follows) -> HeaderMap {
    let recorded = &event.recorded;
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id);
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(follows.sequence));
    if let Some(id) = &follows.id {
        headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, id.as_str());
    }
    headers.insert(POSITION, HeaderValue::from(recorded.position.0));
    headers.insert(TYPE, encode(&event.event_type));
    headers.insert(AGGREGATE_ID, encode(&event.aggregate_id));
    headers.insert(HASH, recorded.hash.to_string());
    headers.insert(KEY_ID, recorded.key_id.to_string());
    headers.insert(SIGNATURE, recorded.signature.to_string());
    headers
}

/// The subject of an event.
pub(super) fn subject(prefix: &StreamPrefix, partition: u32, event: &StoredEvent) -> String {
    prefix.subject(partition, event.recorded.tenant, &encode(&event.aggregate))
}

/// Undoes [`encode`]; what it would not have written stays as it is.
fn decode_text(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let byte = digits.and_then(|digits| hex::decode(digits).ok()?.first().copied());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes what a header value or subject token cannot hold.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/' | b':' | b'@' => {
                encoded.push(byte.into())
            }
            // Writing to a string cannot fail.
            _ => drop(write!(encoded, "%{byte:02x}")),
        }
    }
    encoded
}

/// The first position after `after` that a page should begin or go on with, and does not.
pub(super) fn first_missing(page: &[StoredEvent], after: Position) -> Option<Position> {
    let mut expected = after.next();
    for event in page {
        if event.recorded.position != expected {
            return Some(expected);
        }
        expected = expected.next();
    }
    page.is_empty().then_some(expected)
}
