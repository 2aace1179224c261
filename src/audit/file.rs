//! Verifies an export file: nothing but the file and the first key's fingerprint is needed.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use counterfoil_events::export::{ExportReader, Header, ReadError};
use counterfoil_events::head_note::HeadNote;
use counterfoil_events::ids::{Fingerprint, TenantId};
use counterfoil_events::verify::{FileOptions, FindingKind, Report, verify_export};

use super::Scope;
use super::error::AuditError;
use super::notes;
use super::summary::{Progress, Summary};

/// Read ahead in large pieces: the file is read once, from its beginning to its end.
const BUFFER_BYTES: usize = 1 << 20;

/// Verifies the export at `path`. Without a root, the one that its header names is taken. Blocks.
///
/// # Errors
/// When the file cannot be read, or cannot be held to one of the head notes. One that is no export is a finding.
pub fn verify_file(
    path: &Path,
    root: Option<Fingerprint>,
    scope: &Scope,
    progress: &dyn Progress,
) -> Result<Summary, AuditError> {
    let open = || File::open(path).map_err(AuditError::file(path));
    let header = ExportReader::open(BufReader::new(open()?)).map(|(header, _)| header);
    let used = root.or_else(|| header.as_ref().ok().map(|header| header.root));
    let Some(used) = used else {
        let no_root = Fingerprint([0; 32]);
        let summary = Summary::of(path.display().to_string(), no_root, false, scope);
        return not_an_export(summary, path, header.err());
    };
    let mut summary = Summary::of(path.display().to_string(), used, root.is_some(), scope);
    if let Ok(header) = &header {
        refuse_notes_before(header, path, scope)?;
        progress.begin(header.to.0.saturating_sub(header.from.0) + 1);
    }
    let mut told = 0;
    let mut tell = |events: u64, _: u64| {
        progress.advance(events - told);
        told = events;
    };
    let mut options = FileOptions {
        root: used,
        log: scope.options,
        head_notes: &scope.head_notes,
        progress: &mut tell,
    };
    match verify_export(BufReader::with_capacity(BUFFER_BYTES, open()?), &mut options) {
        Ok(report) => {
            summary.add(report);
            Ok(summary.end())
        }
        Err(error) => not_an_export(summary, path, Some(error)),
    }
}

/// A note for a position before the first says nothing about what the file holds: nobody shall take it for checked.
fn refuse_notes_before(header: &Header, path: &Path, scope: &Scope) -> Result<(), AuditError> {
    let positions =
        notes::of_tenant(&scope.head_notes, header.tenant).filter_map(|note| HeadNote::position_of(note));
    match positions.min().filter(|position| *position < header.from) {
        None => Ok(()),
        Some(position) => Err(AuditError::NoteBeforeExport {
            path: path.to_owned(),
            from: header.from,
            position,
        }),
    }
}

/// A file that cannot be read at all is an error; one that is damaged so far that it is no export, a finding.
fn not_an_export(mut summary: Summary, path: &Path, error: Option<ReadError>) -> Result<Summary, AuditError> {
    match error {
        Some(ReadError::Io(source)) => Err(AuditError::file(path)(source)),
        Some(source @ ReadError::UnknownFormat(_)) => Err(AuditError::Export {
            path: path.to_owned(),
            source,
        }),
        other => {
            let mut report = Report::empty(TenantId::PLATFORM);
            let detail = other.map_or_else(String::new, |error| error.to_string());
            report.find(
                counterfoil_events::ids::Position::ZERO,
                FindingKind::Malformed,
                detail,
            );
            summary.add(report);
            Ok(summary.end())
        }
    }
}
