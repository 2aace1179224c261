//! Writes the export of one log.
//!
//! 1. Sign (or find) a head note for where the log ends now: the export ends there.
//! 2. Key events, then page by page the documents and the events that refer to them.
//! 3. The trailer with the note; then the file gets its name (`destination.rs`).

use std::collections::BTreeSet;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use counterfoil_events::export::{ExportWriter, WriteError};
use counterfoil_events::head_note::HeadNote;
use counterfoil_events::ids::{DocumentDigest, EventHash, Position, TenantId};
use counterfoil_events::ledger::{LogReader, StoredEvent};
use counterfoil_events::verify::documents_of;
use serde::Serialize;

use super::destination::Destination;
use super::error::AuditError;
use super::head_notes::HeadNotes;
use super::keys::Keys;
use super::summary::Progress;

const PAGE_EVENTS: u32 = 1000;
const BUFFER_BYTES: usize = 1 << 20;

/// What to export, and where to.
#[derive(Debug, Clone)]
pub struct Export<'a> {
    /// Whose log.
    pub tenant: TenantId,
    /// From which position on.
    pub from: Position,
    /// The file; `-` is stdout.
    pub path: &'a Path,
    /// Whether one that is there is replaced.
    pub replace: bool,
}

/// What was exported.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// The file; `-` is stdout.
    pub path: PathBuf,
    /// Whose log.
    pub tenant: TenantId,
    /// The first position.
    pub from: Position,
    /// The last position.
    pub to: Position,
    /// How many events.
    pub events: u64,
    /// Documents that envelopes refer to and the database lacks: `verify` will say so.
    pub missing_documents: BTreeSet<DocumentDigest>,
    /// What an auditor has to be given on another way.
    pub root: counterfoil_events::ids::Fingerprint,
}

/// Exports one log.
///
/// # Errors
/// When there is nothing to export, the log is damaged, or Postgres or the file refuse.
pub async fn export(
    export: Export<'_>,
    reader: &LogReader,
    notes: &HeadNotes,
    keys: &Keys,
    progress: &dyn Progress,
) -> Result<Exported, AuditError> {
    let note = notes.note(export.tenant).await?;
    let (from, to) = (Position(export.from.0.max(1)), note.head().position);
    if from > to {
        return Err(AuditError::BeyondHead {
            tenant: export.tenant,
            from,
            head: to,
        });
    }
    let out = Destination::open(export.path, export.replace)?;
    let out = BufWriter::with_capacity(BUFFER_BYTES, out);
    // What refuses is the file then, not the log.
    let refused = |error| match error {
        AuditError::Unexportable(WriteError::Io(source)) => {
            AuditError::file(Destination::name(export.path))(source)
        }
        error => error,
    };
    let prev = hash_before(reader, export.tenant, from).await?;
    let root = keys.trusted.root();
    let writer = ExportWriter::begin(out, export.tenant, (from, to), prev, root, &keys.events)
        .map_err(|error| refused(error.into()))?;
    let mut copy = Copy {
        reader,
        writer,
        tenant: export.tenant,
        missing: BTreeSet::new(),
    };
    let copied = copy.pages((from, to), progress).await;
    copied
        .and_then(|()| finish(copy.writer, &note))
        .map_err(refused)?;
    Ok(Exported {
        path: export.path.to_owned(),
        tenant: export.tenant,
        from,
        to,
        events: to.0 - from.0 + 1,
        missing_documents: copy.missing,
        root,
    })
}

async fn hash_before(reader: &LogReader, tenant: TenantId, from: Position) -> Result<EventHash, AuditError> {
    if from == Position(1) {
        return Ok(EventHash::ZERO);
    }
    let before = (tenant, Position(from.0 - 1));
    // Missing, the export says zeros, and its verifier a broken chain.
    Ok(reader
        .hashes_at(&[before])
        .await?
        .get(&before)
        .copied()
        .unwrap_or(EventHash::ZERO))
}

struct Copy<'a> {
    reader: &'a LogReader,
    writer: ExportWriter<BufWriter<Destination>>,
    tenant: TenantId,
    missing: BTreeSet<DocumentDigest>,
}

impl Copy<'_> {
    async fn pages(
        &mut self,
        (from, to): (Position, Position),
        progress: &dyn Progress,
    ) -> Result<(), AuditError> {
        progress.begin(to.0 - from.0 + 1);
        let mut at = Position(from.0 - 1);
        while at < to {
            let page = self.reader.page(self.tenant, at, to, PAGE_EVENTS).await?;
            let Some(last) = page.last() else { break };
            at = last.recorded.position;
            for event in &page {
                self.documents(event).await?;
                self.writer.event(&event.recorded)?;
            }
            progress.advance(page.len() as u64);
        }
        Ok(())
    }

    async fn documents(&mut self, event: &StoredEvent) -> Result<(), AuditError> {
        // An envelope that cannot be read is exported as it stands, for the verifier to say so.
        let parsed = event.recorded.parse().ok();
        let references = parsed.and_then(|envelope| documents_of(envelope.payload.get()).ok());
        for reference in references.unwrap_or_default() {
            if self.writer.has_document(&reference.digest) || self.missing.contains(&reference.digest) {
                continue;
            }
            match self.reader.document(self.tenant, reference.digest).await? {
                Some(document) => self.writer.document(&document)?,
                None => drop(self.missing.insert(reference.digest)),
            }
        }
        Ok(())
    }
}

fn finish(writer: ExportWriter<BufWriter<Destination>>, note: &HeadNote) -> Result<(), AuditError> {
    let out = writer.finish(note)?;
    let out = out.into_inner().map_err(io::IntoInnerError::into_error);
    out.map_err(WriteError::from)?.complete()
}
