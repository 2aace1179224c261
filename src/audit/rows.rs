//! Rows of `counterfoil.events` as entries for the verifier. A column that cannot be read is a finding, not an error:
//! whoever alters rows may also have dropped the constraints that kept them well formed.

use chrono::{DateTime, Utc};
use counterfoil_events::envelope::RecordedEvent;
use counterfoil_events::ids::{EventHash, EventId, KeyId, Position, Sequence, TenantId};
use counterfoil_events::signature::Signature;
use counterfoil_events::timestamp::Timestamp;
use counterfoil_events::verify::{Columns, Entry, FindingKind, StoredEvent};
use sqlx::postgres::PgRow;
use sqlx::{Column, PgPool, Row};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

/// On the primary key.
const PAGE: &str = "SELECT position, envelope, hash, key_id, signature, event_id, aggregate, aggregate_id, sequence, type, \
                    version, recorded_at FROM counterfoil.events \
                    WHERE tenant_id = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";

/// Rows per page: usually 2 MiB, at worst 130; three are held at once.
const PAGE_EVENTS: i64 = 2000;

/// The pages of a log, read ahead: one that is being checked, one that waits, one that comes.
pub(super) struct Pages {
    pages: mpsc::Receiver<Result<Page, sqlx::Error>>,
    // Ends with this value.
    _reading: JoinSet<()>,
}

impl Pages {
    /// The rows after `after`, up to and with `until`.
    pub(super) fn read(pool: PgPool, tenant: TenantId, after: Position, until: Position) -> Self {
        let (ready, pages) = mpsc::channel(1);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let mut at = after;
            while let Some(read) = page(&pool, tenant, at, until).await.transpose() {
                at = read.as_ref().map_or(at, |page| page.last);
                let failed = read.is_err();
                if ready.send(read).await.is_err() || failed {
                    return;
                }
            }
        });
        Self {
            pages,
            _reading: reading,
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Option<Result<Page, sqlx::Error>> {
        self.pages.recv().await
    }
}

/// Consecutive rows, and the position of the last one.
pub(super) struct Page {
    pub entries: Vec<Entry>,
    pub last: Position,
}

/// The rows after `after`, up to and with `until`; nothing when there are none.
async fn page(
    pool: &PgPool,
    tenant: TenantId,
    after: Position,
    until: Position,
) -> Result<Option<Page>, sqlx::Error> {
    let rows = sqlx::query(PAGE)
        .bind(tenant.0)
        .bind(after.as_i64())
        .bind(until.as_i64())
        .bind(PAGE_EVENTS)
        .fetch_all(pool)
        .await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let last = Position::from_i64(last.try_get(0)?);
    let entries = rows.iter().map(entry).collect();
    Ok(Some(Page { entries, last }))
}

fn entry(row: &PgRow) -> Entry {
    event(row).map_or_else(
        |error| Entry::Unreadable {
            position: row.try_get(0).ok().map(Position::from_i64),
            kind: FindingKind::Malformed,
            detail: error.to_string(),
        },
        Entry::Event,
    )
}

fn event(row: &PgRow) -> Result<StoredEvent, sqlx::Error> {
    Ok(StoredEvent {
        position: Some(Position::from_i64(row.try_get(0)?)),
        envelope: row.try_get(1)?,
        hash: bytes(row, 2, |bytes| EventHash::try_from(bytes))?,
        key_id: bytes(row, 3, |bytes| KeyId::try_from(bytes))?,
        signature: bytes(row, 4, |bytes| Signature::try_from(bytes))?,
        columns: Some(Box::new(Columns {
            event_id: Some(EventId(row.try_get::<Uuid, _>(5)?)),
            aggregate: Some(row.try_get(6)?),
            aggregate_id: Some(row.try_get(7)?),
            sequence: Some(Sequence::from_i64(row.try_get(8)?)),
            event_type: Some(row.try_get(9)?),
            version: Some(row.try_get(10)?),
            recorded_at: Some(Timestamp::from(row.try_get::<DateTime<Utc>, _>(11)?)),
        })),
    })
}

/// A row of `tenant` (position, envelope, hash, key id, signature) as a recorded event.
pub(super) fn recorded(tenant: TenantId, row: &PgRow) -> Result<RecordedEvent, sqlx::Error> {
    Ok(RecordedEvent {
        tenant,
        position: Position::from_i64(row.try_get(0)?),
        envelope: row.try_get(1)?,
        hash: bytes(row, 2, |bytes| EventHash::try_from(bytes))?,
        key_id: bytes(row, 3, |bytes| KeyId::try_from(bytes))?,
        signature: bytes(row, 4, |bytes| Signature::try_from(bytes))?,
    })
}

/// A column of bytes as what it should be.
pub(super) fn bytes<T, E: std::error::Error + Send + Sync + 'static>(
    row: &PgRow,
    column: usize,
    read: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, sqlx::Error> {
    read(row.try_get::<&[u8], _>(column)?).map_err(|error| sqlx::Error::ColumnDecode {
        index: row.columns()[column].name().to_owned(),
        source: error.into(),
    })
}
