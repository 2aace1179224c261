//! Folding a batch of events into the rows at hand. Steps:
//!
//! 1. parse the envelopes, 2. read the rows that the events say they touch and that are not at hand, in bulk,
//! 3. fold each event in order; a row that was not foreseen is read and the event folded again; an event that cannot
//!    be folded is parked with its aggregate, and everything else passes.
//!
//! Nothing is written here: what came of it is stored by [`write`](crate::engine::write), which also makes sure that
//! what was read still stands.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use counterfoil_events::envelope::{self, Envelope, EnvelopeError};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::schema::DecodeError;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::error::{Damage, EngineError};
use crate::engine::event::FoldEvent;
use crate::engine::parked::Parked;
use crate::engine::projection::{FoldError, Projection};
use crate::engine::rows::{RowKey, Rows};

/// An event as it is read to be folded: its bytes say all the rest.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct LoggedEvent {
    /// Where it stands.
    pub position: i64,
    /// Its bytes.
    pub envelope: String,
    /// What they were hashed as.
    pub hash: Vec<u8>,
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

/// What is at hand of a version's tables. True for as long as nobody else changes them, which whoever writes makes sure of.
#[derive(Default)]
pub(super) struct AtHand {
    pub(super) rows: Rows,
    pub(super) parked: Parked,
}

impl AtHand {
    /// For tables that are empty: no row needs to be read.
    pub(super) fn of_empty_tables() -> Self {
        Self {
            rows: Rows::of_empty_tables(),
            parked: Parked::default(),
        }
    }
}

/// Folds batches into the rows at hand; answers how many events were folded. `connection` is in the version's schema.
///
/// # Errors
/// See [`EngineError`]; what is at hand is then forgotten by the caller.
pub(super) async fn fold_batches(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
    at_hand: &mut AtHand,
    batches: &[Batch],
) -> Result<u64, EngineError> {
    let AtHand { rows, parked } = at_hand;
    let mut folded = 0;
    let envelopes = parse_all(batches)?;
    let events: Vec<FoldEvent<'_>> = envelopes
        .iter()
        .map(FoldEvent::new)
        .filter(|event| projection.declaration().event_types.contains(&event.event_type))
        .collect();
    if events.is_empty() {
        return Ok(0);
    }
    let tenants = events.iter().map(|event| event.tenant);
    parked
        .read(connection, projection.name(), version, tenants)
        .await?;
    read_touched(connection, projection, rows, &events).await?;
    for event in &events {
        let verdict = match parked.holds(event) {
            true => Err("behind a parked event of its aggregate".to_owned()),
            false => fold_one(connection, projection, rows, event).await?,
        };
        match verdict {
            Ok(()) => folded += 1,
            Err(reason) => parked.park(projection.name(), version, event, reason),
        }
    }
    Ok(folded)
}

fn parse_all(batches: &[Batch]) -> Result<Vec<Envelope<'_>>, EngineError> {
    let events = batches
        .iter()
        .flat_map(|batch| batch.events.iter().map(|event| (batch.tenant, event)));
    events
        .map(|(tenant, event)| {
            let position = Position::from_i64(event.position);
            parse(tenant, position, event).map_err(|source| EngineError::Damaged {
                tenant,
                position,
                source,
            })
        })
        .collect()
}

/// The envelope of the event that stands at a place. One of another place would be folded into another tenant's rows.
fn parse(tenant: TenantId, position: Position, event: &LoggedEvent) -> Result<Envelope<'_>, Damage> {
    if event.hash != envelope::hash(event.envelope.as_bytes()).0 {
        return Err(EnvelopeError::Altered.into());
    }
    let envelope = Envelope::parse(&event.envelope)?;
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
