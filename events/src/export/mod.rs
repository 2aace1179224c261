//! The export file: one tenant's log as JSON Lines, with everything that is needed to verify it but the
//! fingerprint of the first signing key.
//!
//! Lines, in this order: one `header`; the `key` events of the platform log; `event`s in position order, each
//! `document` before the first event that refers to it; one `trailer`, whose head note covers the last event.
//! Each line is an object of one member, named for what it is. A file without its trailer was cut.

mod reader;
mod writer;

use serde::{Deserialize, Serialize};

use crate::envelope::RecordedEvent;
use crate::ids::{DocumentDigest, EventHash, Fingerprint, KeyId, Position, TenantId};
use crate::signature::Signature;

pub use reader::{ExportReader, Line, ReadError};
pub use writer::{ExportWriter, WriteError};

/// The format that this crate writes and reads.
pub const EXPORT_FORMAT: u32 = 1;

/// Longest line read: a document of one MiB, each byte of it escaped as six, and what stands around it.
pub const MAX_LINE_BYTES: usize = 6 * crate::document::MAX_DOCUMENT_BYTES + 1024;

/// Which log, and which part of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`EXPORT_FORMAT`].
    pub format: u32,
    /// Whose log.
    pub tenant: TenantId,
    /// The first position.
    pub from: Position,
    /// The last position.
    pub to: Position,
    /// The hash of the event before the first; zeros at position 1.
    pub prev: EventHash,
    /// The first signing key. For orientation: trust only what you were given on another way.
    pub root: Fingerprint,
}

/// An event or a key event as the file holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    /// The exact bytes, as one JSON string.
    pub envelope: String,
    /// Their hash.
    pub hash: EventHash,
    /// The key that signed.
    pub key_id: KeyId,
    /// The signature.
    pub signature: Signature,
}

impl From<EventLine> for crate::verify::Entry {
    fn from(line: EventLine) -> Self {
        Self::Event(crate::verify::StoredEvent {
            position: None,
            envelope: line.envelope,
            hash: line.hash,
            key_id: line.key_id,
            signature: line.signature,
            columns: None,
        })
    }
}

impl EventLine {
    /// As a recorded event; its tenant and position are those that the envelope names.
    ///
    /// # Errors
    /// When the envelope cannot be read.
    pub fn into_recorded(self) -> Result<RecordedEvent, crate::envelope::EnvelopeError> {
        let envelope = crate::envelope::Envelope::parse(&self.envelope)?;
        Ok(RecordedEvent {
            tenant: envelope.tenant,
            position: envelope.position,
            hash: self.hash,
            key_id: self.key_id,
            signature: self.signature,
            envelope: self.envelope,
        })
    }
}

/// A document as the file holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentLine {
    /// Its address.
    pub digest: DocumentDigest,
    /// Its text.
    pub body: String,
}

/// What the file held; the last line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// How many key events.
    pub keys: u64,
    /// How many documents.
    pub documents: u64,
    /// How many events.
    pub events: u64,
    /// The hash of the last event.
    pub hash: EventHash,
    /// A head note for it, whole.
    pub head_note: String,
}
