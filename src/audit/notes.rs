//! Head notes as anchors for the verifier: those kept beside the log, and those that the auditor kept.

use chrono::{DateTime, Utc};
use counterfoil_events::head_note::{Head, HeadNote};
use counterfoil_events::ids::{EventHash, Position, TenantId};
use counterfoil_events::keyring::TrustedKeys;
use counterfoil_events::ledger::LogReader;
use counterfoil_events::timestamp::Timestamp;
use counterfoil_events::verify::{Anchor, AnchorSource, FindingKind, LogVerifier, note_error_kind};
use sqlx::{PgPool, Row};

use super::rows::bytes;

/// On the primary key.
const KEPT: &str = "SELECT position, hash, noted_at, note FROM counterfoil.head_notes \
                    WHERE tenant_id = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";

/// Notes per query: half a MiB.
const PAGE_NOTES: i64 = 1000;

/// The notes kept for positions after `after`, up to and with `until`; what is wrong with one is a finding.
pub(super) async fn kept(
    pool: &PgPool,
    keys: &TrustedKeys,
    verifier: &mut LogVerifier,
    tenant: TenantId,
    (mut after, until): (Position, Position),
) -> Result<Vec<Head>, sqlx::Error> {
    let mut kept = Vec::new();
    loop {
        let rows = sqlx::query(KEPT)
            .bind(tenant.0)
            .bind(after.as_i64())
            .bind(until.as_i64())
            .bind(PAGE_NOTES)
            .fetch_all(pool)
            .await?;
        let Some(last) = rows.last() else { return Ok(kept) };
        after = Position::from_i64(last.try_get(0)?);
        for row in &rows {
            let position = Position::from_i64(row.try_get(0)?);
            let Some(head) = open(keys, verifier, tenant, position, row.try_get(3)?) else {
                continue;
            };
            let hash = bytes(row, 1, |bytes| EventHash::try_from(bytes))?;
            let time = Timestamp::from(row.try_get::<DateTime<Utc>, _>(2)?);
            if (head.position, head.hash, head.time) != (position, hash, time) {
                let detail = "a head note's columns are not what the note says".to_owned();
                verifier.find(position, FindingKind::ColumnsDisagree, detail);
            }
            kept.push(head);
        }
    }
}

/// What the verifier has to be held to by a head note that can be relied on.
pub(super) fn anchor(head: &Head) -> Anchor {
    Anchor {
        source: AnchorSource::HeadNote,
        position: head.position,
        hash: Some(head.hash),
    }
}

/// Opens a note of this log; what is wrong with it is a finding at `position`.
pub(super) fn open(
    keys: &TrustedKeys,
    verifier: &mut LogVerifier,
    tenant: TenantId,
    position: Position,
    note: &str,
) -> Option<Head> {
    let (kind, detail) = match HeadNote::open(note, keys.ring()) {
        Ok(note) if note.head().tenant == tenant => return Some(note.head()),
        Ok(note) => (
            FindingKind::ForeignTenant,
            format!("the head note is of tenant {}", note.head().tenant),
        ),
        Err(error) => (note_error_kind(&error), error.to_string()),
    };
    verifier.find(position, kind, detail);
    None
}

/// Holds the log to a note for a position that `verifier` does not read: by the event's hash in Postgres, which the
/// chain from `--from` on stands upon.
pub(super) async fn expect_before(
    pool: &PgPool,
    verifier: &mut LogVerifier,
    head: &Head,
) -> Result<(), sqlx::Error> {
    let place = (head.tenant, head.position);
    match LogReader::new(pool.clone())
        .hashes_at(&[place])
        .await?
        .get(&place)
    {
        Some(hash) if *hash == head.hash => {}
        Some(hash) => {
            let detail = format!("a head note says {}, the event's hash is {hash}", head.hash);
            verifier.find(head.position, FindingKind::HeadNoteConflict, detail);
        }
        None => {
            let detail = "a head note names an event here, which is missing".to_owned();
            verifier.find(head.position, FindingKind::Gap, detail);
        }
    }
    Ok(())
}

/// Of notes from elsewhere, those of one tenant. A note that cannot be read belongs to every log that is looked at.
pub(super) fn of_tenant(notes: &[String], tenant: TenantId) -> impl Iterator<Item = &String> {
    let is_ours = move |note: &&String| HeadNote::tenant_of(note).is_none_or(|named| named == tenant);
    notes.iter().filter(is_ours)
}
