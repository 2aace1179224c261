//! Verifies an export file, given only the first signing key's fingerprint.
//!
//! Key events first, then documents and events as they come, then the trailer:
//! 1. the keys are those that the root vouches for ([`TrustedKeys`]); the header names the same root,
//! 2. events are held to the rules of [`LogVerifier`]; a document has to be what its digest says, whether or not an event
//!    refers to it, and counts for the events after it,
//! 3. the trailer's counts and hash are those of what was read, and its head note covers the last event.
//!
//! Findings about the file itself stand at position 0, those about its trailer at the last position.

use std::io::BufRead;
use std::sync::Arc;

use crate::envelope::RecordedEvent;
use crate::export::{ExportReader, Header, Line, ReadError, Trailer};
use crate::head_note::{Head, HeadNote, HeadNoteError};
use crate::ids::{DocumentDigest, EventHash, Fingerprint, Position, TenantId};
use crate::keyring::TrustedKeys;
use crate::verify::anchors::{Anchor, AnchorSource};
use crate::verify::documents::SeenDocuments;
use crate::verify::entry::Entry;
use crate::verify::finding::{Finding, FindingKind, Findings};
use crate::verify::log::{LogVerifier, Options, Report};

/// Entries checked at once.
const BATCH: usize = 1024;
/// More keys than any installation rotates through; a bound on what is held before the first event.
const MAX_KEYS: usize = 10_000;

/// How a file is verified.
pub struct FileOptions<'a> {
    /// The first signing key's fingerprint.
    pub root: Fingerprint,
    /// What to check, and with how many threads.
    pub log: Options,
    /// Head notes from elsewhere that the file has to be consistent with.
    pub head_notes: &'a [String],
    /// Called now and then with the events and bytes read so far.
    pub progress: &'a mut dyn FnMut(u64, u64),
}

/// Verifies the export that `input` holds.
///
/// # Errors
/// When it cannot be read, or is no export.
pub fn verify_export(input: impl BufRead, options: &mut FileOptions<'_>) -> Result<Report, ReadError> {
    let (header, mut reader) = ExportReader::open(input)?;
    let start = read_keys(&mut reader)?;
    let (keys, problems) = TrustedKeys::from_events(options.root, &start.keys);
    let keys = Arc::new(keys);
    let prev = if header.from == Position(1) {
        EventHash::ZERO
    } else {
        header.prev
    };
    let log = LogVerifier::starting_at(header.tenant, keys.clone(), options.log, header.from, Some(prev));
    let mut file = FileVerifier {
        log,
        keys,
        documents: SeenDocuments::default(),
        counts: Counts {
            keys: start.keys.len() as u64,
            unreadable: start.unreadable.len() as u64,
            ..Counts::default()
        },
        batch: start.unreadable,
        header: &header,
    };
    file.check_header(options);
    file.read(&mut reader, start.pending, options.progress)?;
    let mut report = file.log.finish();
    let mut findings = Findings::default();
    for problem in problems {
        findings.add(Finding {
            tenant: TenantId::PLATFORM,
            position: problem.position,
            kind: problem.kind,
            detail: problem.detail,
            loss: None,
        });
    }
    findings.merge(report.findings);
    report.findings = findings;
    Ok(report)
}

/// What stands before the first document or event.
#[derive(Default)]
struct Start {
    keys: Vec<RecordedEvent>,
    unreadable: Vec<Entry>,
    pending: Option<Line>,
}

fn unreadable(detail: String) -> Entry {
    Entry::Unreadable {
        position: None,
        kind: FindingKind::Malformed,
        detail,
    }
}

fn read_keys<R: BufRead>(reader: &mut ExportReader<R>) -> Result<Start, ReadError> {
    let mut start = Start::default();
    loop {
        match reader.next_line()? {
            Some(Line::Key(line)) if start.keys.len() < MAX_KEYS => match line.into_recorded() {
                Ok(event) => start.keys.push(event),
                Err(error) => start.unreadable.push(unreadable(error.to_string())),
            },
            Some(Line::Unreadable(detail)) if start.unreadable.len() < BATCH => {
                start.unreadable.push(unreadable(detail));
            }
            other => {
                start.pending = other;
                return Ok(start);
            }
        }
    }
}

#[derive(Default)]
struct Counts {
    keys: u64,
    documents: u64,
    events: u64,
    unreadable: u64,
}

struct FileVerifier<'f> {
    log: LogVerifier,
    keys: Arc<TrustedKeys>,
    documents: SeenDocuments,
    batch: Vec<Entry>,
    counts: Counts,
    header: &'f Header,
}

impl FileVerifier<'_> {
    fn check_header(&mut self, options: &FileOptions<'_>) {
        let header = self.header;
        if header.root != options.root {
            let detail = format!("the header names root {}, you gave {}", header.root, options.root);
            self.log
                .find(Position::ZERO, FindingKind::ColumnsDisagree, detail);
        }
        if header.from == Position(1) && header.prev != EventHash::ZERO {
            let detail = format!("the header says that {} comes before position 1", header.prev);
            self.log
                .find(Position::ZERO, FindingKind::ColumnsDisagree, detail);
        }
        self.log.expect(Anchor {
            source: AnchorSource::Head,
            position: header.to,
            hash: None,
        });
        for note in options.head_notes {
            if let Some(head) = self.open(note) {
                self.log.expect(note_anchor(&head));
            }
        }
    }

    /// Reads all lines from `pending` to the end of the file.
    fn read<R: BufRead>(
        &mut self,
        reader: &mut ExportReader<R>,
        pending: Option<Line>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ReadError> {
        let mut trailer = None;
        let mut next = pending;
        while let Some(line) = next {
            match (line, &trailer) {
                (Line::Document(document), None) => {
                    // Only what stands before an event counts for it.
                    self.flush();
                    self.counts.documents += 1;
                    self.add_document(document.digest, &document.body);
                }
                (Line::Event(event), None) => {
                    self.counts.events += 1;
                    self.batch.push(event.into());
                }
                (Line::Trailer(found), None) => trailer = Some(found),
                (Line::Unreadable(detail), None) => self.add_unreadable(detail),
                (_, None) => self.add_unreadable("a header or key stands among events".to_owned()),
                (_, Some(_)) => self.find_in_trailer(FindingKind::Malformed, "lines follow it".to_owned()),
            }
            if self.batch.len() >= BATCH {
                self.flush();
                progress(self.counts.events, reader.bytes_read());
            }
            next = reader.next_line()?;
        }
        self.flush();
        progress(self.counts.events, reader.bytes_read());
        match trailer {
            Some(trailer) => self.check_trailer(&trailer),
            None => self.find_in_trailer(
                FindingKind::MissingTail,
                "it is missing: the file was cut".to_owned(),
            ),
        }
        Ok(())
    }

    fn add_document(&mut self, digest: DocumentDigest, body: &str) {
        if !self.documents.add(digest, body.as_bytes()) {
            let detail = format!("a document line names digest {digest}, which is not its body's");
            let next = self.log.next();
            self.log.find(next, FindingKind::DocumentMismatch, detail);
            self.documents.set_reported(digest);
        }
    }

    fn add_unreadable(&mut self, detail: String) {
        self.counts.unreadable += 1;
        self.batch.push(unreadable(detail));
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.log.verify_batch(&batch, &self.documents);
    }

    fn find_in_trailer(&mut self, kind: FindingKind, detail: String) {
        self.log
            .find(self.header.to, kind, format!("the trailer: {detail}"));
    }

    fn check_trailer(&mut self, trailer: &Trailer) {
        let counted = (trailer.keys, trailer.documents, trailer.events);
        let Counts {
            keys,
            documents,
            events,
            unreadable,
        } = self.counts;
        // A line that cannot be read is a finding already, and cannot be counted as anything.
        if unreadable == 0 && counted != (keys, documents, events) {
            let (k, d, e) = counted;
            let detail = format!(
                "it counts {k} keys, {d} documents, {e} events; there are {keys}, {documents}, {events}"
            );
            self.find_in_trailer(FindingKind::ColumnsDisagree, detail);
        }
        self.log.expect(Anchor {
            source: AnchorSource::Head,
            position: self.header.to,
            hash: Some(trailer.hash),
        });
        let Some(head) = self.open(&trailer.head_note) else {
            return;
        };
        if head.position == self.header.to {
            self.log.expect(note_anchor(&head));
        } else {
            let detail = format!("its head note is for position {}", head.position);
            self.find_in_trailer(FindingKind::HeadNoteConflict, detail);
        }
    }

    /// What a head note of this log says; a finding at the last position if it cannot be relied on.
    fn open(&mut self, note: &str) -> Option<Head> {
        let (kind, detail) = match HeadNote::open(note, self.keys.ring()) {
            Ok(note) if note.head().tenant == self.header.tenant => return Some(note.head()),
            Ok(note) => (
                FindingKind::ForeignTenant,
                format!("the head note is of tenant {}", note.head().tenant),
            ),
            Err(error) => (note_error_kind(&error), error.to_string()),
        };
        self.log.find(self.header.to, kind, detail);
        None
    }
}

/// A head note's error as a finding.
#[must_use]
pub fn note_error_kind(error: &HeadNoteError) -> FindingKind {
    match error {
        HeadNoteError::Malformed(_) => FindingKind::Malformed,
        HeadNoteError::UnknownKey(_) => FindingKind::UnknownKey,
        HeadNoteError::SignatureInvalid(_) => FindingKind::SignatureInvalid,
    }
}

fn note_anchor(head: &Head) -> Anchor {
    Anchor {
        source: AnchorSource::HeadNote,
        position: head.position,
        hash: Some(head.hash),
    }
}
