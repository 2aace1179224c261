//! Writes an export file, line by line, in the one order in which a reader accepts it.

use std::collections::HashSet;
use std::io::{self, Write};

use serde::Serialize;

use crate::document::Document;
use crate::envelope::RecordedEvent;
use crate::export::{EXPORT_FORMAT, Header, Trailer};
use crate::head_note::HeadNote;
use crate::ids::{DocumentDigest, EventHash, Fingerprint, KeyId, Position, TenantId};
use crate::signature::Signature;

/// Why an export cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file refuses.
    #[error("writing the export: {0}")]
    Io(#[from] io::Error),
    /// Events have to come in order and without a gap.
    #[error("event {tenant} {found} where position {expected} of the exported log follows")]
    OutOfOrder {
        /// Whose event came.
        tenant: TenantId,
        /// Which one came.
        found: Position,
        /// Which one had to.
        expected: Position,
    },
    /// The head note has to be for the last event.
    #[error("the head note is for position {noted}, the export ends at {last}")]
    OtherHead {
        /// Where the note stands.
        noted: Position,
        /// Where the export ends.
        last: Position,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Out<'a> {
    Header(&'a Header),
    Key(OutEvent<'a>),
    Document { digest: DocumentDigest, body: &'a str },
    Event(OutEvent<'a>),
    Trailer(&'a Trailer),
}

#[derive(Serialize)]
struct OutEvent<'a> {
    envelope: &'a str,
    hash: &'a EventHash,
    key_id: &'a KeyId,
    signature: &'a Signature,
}

impl<'a> From<&'a RecordedEvent> for OutEvent<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            envelope: &event.envelope,
            hash: &event.hash,
            key_id: &event.key_id,
            signature: &event.signature,
        }
    }
}

/// Writes one export.
pub struct ExportWriter<W: Write> {
    out: W,
    header: Header,
    next: Position,
    last_hash: EventHash,
    keys: u64,
    documents: HashSet<DocumentDigest>,
}

impl<W: Write> ExportWriter<W> {
    /// Starts a file with positions `from` to `to` of a tenant's log; `prev` is the hash before `from`. The key
    /// events come with it, since they have to stand before everything else.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn begin(
        out: W,
        tenant: TenantId,
        (from, to): (Position, Position),
        prev: EventHash,
        root: Fingerprint,
        key_events: &[RecordedEvent],
    ) -> Result<Self, WriteError> {
        let header = Header {
            format: EXPORT_FORMAT,
            tenant,
            from,
            to,
            prev,
            root,
        };
        let mut writer = Self {
            out,
            next: from,
            last_hash: prev,
            keys: key_events.len() as u64,
            documents: HashSet::new(),
            header: header.clone(),
        };
        writer.line(&Out::Header(&header))?;
        for event in key_events {
            writer.line(&Out::Key(event.into()))?;
        }
        Ok(writer)
    }

    /// Whether a document is in the file already.
    #[must_use]
    pub fn has_document(&self, digest: &DocumentDigest) -> bool {
        self.documents.contains(digest)
    }

    /// Writes a document, unless it is there already.
    ///
    /// # Errors
    /// When the file refuses.
    pub fn document(&mut self, document: &Document) -> Result<(), WriteError> {
        let digest = document.reference().digest;
        if self.documents.insert(digest) {
            self.line(&Out::Document {
                digest,
                body: document.body(),
            })?;
        }
        Ok(())
    }

    /// Writes the next event. Its documents have to be there.
    ///
    /// # Errors
    /// When it is not the next one, or the file refuses.
    pub fn event(&mut self, event: &RecordedEvent) -> Result<(), WriteError> {
        if (event.tenant, event.position) != (self.header.tenant, self.next) {
            return Err(WriteError::OutOfOrder {
                tenant: event.tenant,
                found: event.position,
                expected: self.next,
            });
        }
        self.line(&Out::Event(event.into()))?;
        self.next = self.next.next();
        self.last_hash = event.hash;
        Ok(())
    }

    /// Writes the trailer. Until this has returned the file is worth nothing.
    ///
    /// # Errors
    /// When the note is not for the last event, events are missing, or the file refuses.
    pub fn finish(mut self, note: &HeadNote) -> Result<W, WriteError> {
        let last = Position(self.next.0.saturating_sub(1));
        if note.head().position != last || last != self.header.to {
            return Err(WriteError::OtherHead {
                noted: note.head().position,
                last,
            });
        }
        let trailer = Trailer {
            keys: self.keys,
            documents: self.documents.len() as u64,
            events: self.next.0 - self.header.from.0,
            hash: self.last_hash,
            head_note: note.as_str().to_owned(),
        };
        self.line(&Out::Trailer(&trailer))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, line: &Out<'_>) -> Result<(), WriteError> {
        serde_json::to_writer(&mut self.out, line).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }
}
