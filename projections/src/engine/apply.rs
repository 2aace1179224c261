//! Folding a batch of events into a version's tables, in one transaction. Steps:
//!
//! 1. take the cursors: nobody else folds into these rows now, 2. read the rows that the events say they touch, in bulk,
//! 3. fold each event in order; a row that was not foreseen is read and the event folded again; an event that cannot
//!    be folded is parked with its aggregate, and everything else passes,
//! 4. store what changed, 5. move the cursors: the fence, 6. the caller commits.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use counterfoil_events::envelope::Envelope;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::schema::DecodeError;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::cursor::{Move, move_cursors, take_cursors};
use crate::engine::error::{Damage, EngineError};
use crate::engine::event::FoldEvent;
use crate::engine::parked::{Parked, park};
use crate::engine::projection::{FoldError, Projection};
use crate::engine::rows::{RowKey, Rows};

/// An event as it is read to be folded: its bytes say all the rest.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct LoggedEvent {
    /// Where it stands.
    pub position: i64,
    /// Its bytes.
    pub envelope: String,
}

/// One tenant's events from its cursor on, and up to where they take it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose log.
    pub tenant: TenantId,
    /// Where the cursor stands.
    pub from: Position,
    /// Where it stands afterwards: events that the filter left out are passed over.
    pub to: Position,
    /// In position order, all in `from + 1 ..= to`.
    pub events: Vec<LoggedEvent>,
}

/// Folds batches into `version` within the caller's transaction, whose `search_path` is the version's schema.
/// Answers how many events were folded.
///
/// # Errors
/// See [`EngineError`]; the caller rolls back, and forgets `rows`: they hold what was not committed.
pub async fn apply(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
    rows: &mut Rows,
    batches: &[Batch],
) -> Result<u64, EngineError> {
    let folded = if is_nothing(batches) {
        0
    } else {
        let expected: Vec<_> = batches.iter().map(|batch| (batch.tenant, batch.from)).collect();
        take_cursors(connection, projection, version, &expected).await?;
        let folded = fold_batches(connection, projection, version, rows, batches).await?;
        fail::fail_point!("projection.mid_fold");
        folded
    };
    let moves: Vec<Move> = batches
        .iter()
        .filter(|batch| batch.to > batch.from)
        .map(|batch| Move {
            tenant: batch.tenant,
            old: batch.from,
            new: batch.to,
        })
        .collect();
    move_cursors(connection, projection.name(), version, &moves).await?;
    Ok(folded)
}

/// Most steps of most projections have nothing to fold: then the cursors only move, which is the fence by itself. (A
/// cursor that has not begun has to be made.)
pub(super) fn is_nothing(batches: &[Batch]) -> bool {
    batches
        .iter()
        .all(|batch| batch.events.is_empty() && batch.from > Position::ZERO)
}

/// Steps 2 to 4.
pub(super) async fn fold_batches(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
    rows: &mut Rows,
    batches: &[Batch],
) -> Result<u64, EngineError> {
    let mut parked = Parked::read(connection, projection.name(), version, batches).await?;
    let mut folded = 0;
    let envelopes = parse_all(batches)?;
    let events: Vec<FoldEvent<'_>> = envelopes
        .iter()
        .map(FoldEvent::new)
        .filter(|event| projection.declaration().event_types.contains(&event.event_type))
        .collect();
    read_touched(connection, projection, rows, &events).await?;
    for event in &events {
        let verdict = match parked.holds(event) {
            true => Err("behind a parked event of its aggregate".to_owned()),
            false => fold_one(connection, projection, rows, event).await?,
        };
        match verdict {
            Ok(()) => folded += 1,
            Err(reason) => {
                park(
                    connection,
                    projection.name(),
                    version,
                    &mut parked,
                    event,
                    &reason,
                )
                .await?
            }
        }
    }
    store(connection, projection, rows).await?;
    Ok(folded)
}

fn parse_all(batches: &[Batch]) -> Result<Vec<Envelope<'_>>, EngineError> {
    let events = batches
        .iter()
        .flat_map(|batch| batch.events.iter().map(|event| (batch.tenant, event)));
    events
        .map(|(tenant, event)| {
            let position = Position::from_i64(event.position);
            parse(tenant, position, &event.envelope).map_err(|source| EngineError::Damaged {
                tenant,
                position,
                source,
            })
        })
        .collect()
}

/// The envelope of the event that stands at a place. One of another place would be folded into another tenant's rows.
fn parse(tenant: TenantId, position: Position, bytes: &str) -> Result<Envelope<'_>, Damage> {
    let envelope = Envelope::parse(bytes)?;
    if (envelope.tenant, envelope.position) != (tenant, position) {
        return Err(Damage::Misplaced {
            tenant: envelope.tenant,
            position: envelope.position,
        });
    }
    Ok(envelope)
}

async fn read_touched(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    rows: &mut Rows,
    events: &[FoldEvent<'_>],
) -> Result<(), EngineError> {
    let keys: BTreeSet<RowKey> = events
        .iter()
        .flat_map(|event| projection.touches(event))
        .filter(|key| !rows.is_at_hand(key))
        .collect();
    load(connection, projection, rows, keys).await
}

async fn load(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    rows: &mut Rows,
    keys: BTreeSet<RowKey>,
) -> Result<(), EngineError> {
    for (index, table) in projection.declaration().tables.iter().enumerate() {
        let wanted: Vec<&RowKey> = keys.iter().filter(|key| key.table == index).collect();
        if wanted.is_empty() {
            continue;
        }
        let found: Vec<(Uuid, String, String)> = sqlx::query_as(table.load)
            .bind(wanted.iter().map(|key| key.tenant.0).collect::<Vec<_>>())
            .bind(wanted.iter().map(|key| key.key.as_str()).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        wanted.into_iter().for_each(|key| rows.loaded(key.clone(), None));
        for (tenant, key, row) in found {
            rows.loaded(RowKey::new(index, TenantId(tenant), key), Some(row));
        }
    }
    Ok(())
}

/// Folds one event: `Ok(Err(reason))` when it is to be parked.
async fn fold_one(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    rows: &mut Rows,
    event: &FoldEvent<'_>,
) -> Result<Result<(), String>, EngineError> {
    loop {
        // A fold that panics is a poisoned event like any other; what it wrote lies in the overlay only.
        let outcome = catch_unwind(AssertUnwindSafe(|| projection.fold(rows, event)));
        let error = match outcome {
            Ok(Ok(())) => {
                rows.keep();
                return Ok(Ok(()));
            }
            Ok(Err(error)) => error,
            Err(_) => FoldError::Contradiction("the fold panicked".to_owned()),
        };
        rows.discard();
        match error {
            FoldError::Missing(key) => load(connection, projection, rows, BTreeSet::from([key])).await?,
            FoldError::Decode(unknown @ DecodeError::Unknown { .. }) => {
                return Err(EngineError::TooOld(unknown));
            }
            other => return Ok(Err(other.to_string())),
        }
    }
}

async fn store(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    rows: &mut Rows,
) -> Result<(), EngineError> {
    let changes = rows.take_changes().map_err(EngineError::Store)?;
    let mut by_table: BTreeMap<usize, (Vec<String>, Vec<RowKey>)> = BTreeMap::new();
    for (key, row) in changes {
        let (written, deleted) = by_table.entry(key.table).or_default();
        match row {
            Some(row) => written.push(whole_row(&key, &row).map_err(EngineError::Store)?),
            None => deleted.push(key),
        }
    }
    for (index, (written, deleted)) in by_table {
        let table = &projection.declaration().tables[index];
        if !written.is_empty() {
            sqlx::query(table.store)
                .bind(format!("[{}]", written.join(",")))
                .execute(&mut *connection)
                .await?;
        }
        if !deleted.is_empty() {
            sqlx::query(table.delete)
                .bind(deleted.iter().map(|key| key.tenant.0).collect::<Vec<_>>())
                .bind(deleted.iter().map(|key| key.key.as_str()).collect::<Vec<_>>())
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// A row's JSON object with its two key columns put in front of its own.
fn whole_row(key: &RowKey, row: &str) -> Result<String, FoldError> {
    let error = |source| FoldError::Row {
        key: key.clone(),
        source,
    };
    let name = serde_json::to_string(&key.key).map_err(error)?;
    let rest = row.strip_prefix('{').unwrap_or(row);
    let comma = if rest.starts_with('}') { "" } else { "," };
    Ok(format!(
        "{{\"tenant_id\":\"{}\",\"key\":{name}{comma}{rest}",
        key.tenant
    ))
}
