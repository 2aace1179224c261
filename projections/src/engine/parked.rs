//! Parked events: what could not be folded, and later events of the same aggregate in order behind it.
//!
//! Everything else passes. Parked events are visible and can be retried once the cause is mended; a diff lists and
//! excludes them.

use std::collections::HashSet;

use counterfoil_events::ids::{Position, TenantId};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::engine::error::EngineError;
use crate::engine::event::FoldEvent;
use crate::engine::fold::{AtHand, Batch};
use crate::engine::folder::step;
use crate::engine::projection::Projection;
use crate::engine::version::{Version, count_step, enter, live_version};
use crate::engine::write::Fence;

const AGGREGATES: &str = "SELECT DISTINCT tenant_id, aggregate, aggregate_id FROM counterfoil.parked_events \
                          WHERE projection = $1 AND version = $2 AND tenant_id = ANY($3)";
const LIST: &str = "SELECT tenant_id, projection, version, position, aggregate, aggregate_id, type, reason \
                    FROM counterfoil.parked_events WHERE ($1::text IS NULL OR projection = $1) \
                    ORDER BY projection, version, tenant_id, position LIMIT 1000";
const AGGREGATE_AT: &str = "SELECT aggregate, aggregate_id FROM counterfoil.parked_events \
                            WHERE projection = $1 AND version = $2 AND tenant_id = $3 AND position = $4";
const FREE: &str = "DELETE FROM counterfoil.parked_events WHERE projection = $1 AND version = $2 AND tenant_id = $3 \
                    AND aggregate = $4 AND aggregate_id = $5";
const OF_AGGREGATE: &str = "SELECT position, envelope, hash FROM counterfoil.events e \
                            WHERE tenant_id = $1 AND position IN (SELECT position FROM counterfoil.parked_events \
                            WHERE projection = $2 AND version = $3 AND tenant_id = $1 AND aggregate = $4 AND aggregate_id = $5) \
                            ORDER BY position";

/// An event that could not be folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ParkedEvent {
    /// Whose log.
    pub tenant_id: Uuid,
    /// Which projection.
    pub projection: String,
    /// Which version of it.
    pub version: i32,
    /// Where in the log.
    pub position: i64,
    /// The kind of aggregate.
    pub aggregate: String,
    /// Which one.
    pub aggregate_id: String,
    /// The event's type.
    #[sqlx(rename = "type")]
    #[serde(rename = "type")]
    pub event_type: String,
    /// Why it could not.
    pub reason: String,
}

/// An event that was parked just now, and is to be written.
#[derive(Debug)]
pub(super) struct NewlyParked {
    pub(super) tenant: TenantId,
    pub(super) position: Position,
    pub(super) aggregate: String,
    pub(super) aggregate_id: String,
    pub(super) event_type: String,
    pub(super) reason: String,
}

/// The aggregates that are parked, of the tenants that were asked for.
#[derive(Default)]
pub(super) struct Parked {
    asked: HashSet<TenantId>,
    aggregates: HashSet<(TenantId, String, String)>,
    new: Vec<NewlyParked>,
}

impl Parked {
    /// Reads those of tenants that were not asked for yet.
    pub(super) async fn read(
        &mut self,
        connection: &mut PgConnection,
        projection: &str,
        version: i32,
        tenants: impl Iterator<Item = TenantId>,
    ) -> Result<(), sqlx::Error> {
        let asked: HashSet<TenantId> = tenants.filter(|tenant| !self.asked.contains(tenant)).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Uuid, String, String)> = sqlx::query_as(AGGREGATES)
            .bind(projection)
            .bind(version)
            .bind(asked.iter().map(|tenant| tenant.0).collect::<Vec<Uuid>>())
            .fetch_all(connection)
            .await?;
        let parked = rows
            .into_iter()
            .map(|(tenant, kind, id)| (TenantId(tenant), kind, id));
        self.aggregates.extend(parked);
        self.asked.extend(asked);
        Ok(())
    }

    pub(super) fn holds(&self, event: &FoldEvent<'_>) -> bool {
        // Most of the time nothing is parked, and then no key is made.
        !self.aggregates.is_empty()
            && self.aggregates.contains(&(
                event.tenant,
                event.aggregate.to_owned(),
                event.aggregate_id.to_owned(),
            ))
    }

    /// Parks an event, and with it its aggregate.
    pub(super) fn park(&mut self, projection: &str, version: i32, event: &FoldEvent<'_>, reason: String) {
        tracing::warn!(projection, version, tenant = %event.tenant, position = %event.position, reason, "an event is parked");
        metrics::counter!("counterfoil_events_parked_total", "projection" => projection.to_owned())
            .increment(1);
        let (aggregate, aggregate_id) = (event.aggregate.to_owned(), event.aggregate_id.to_owned());
        self.aggregates
            .insert((event.tenant, aggregate.clone(), aggregate_id.clone()));
        self.new.push(NewlyParked {
            tenant: event.tenant,
            position: event.position,
            aggregate,
            aggregate_id,
            event_type: event.event_type.to_owned(),
            reason,
        });
    }

    /// What was parked since the last call.
    pub(super) fn take_new(&mut self) -> Vec<NewlyParked> {
        std::mem::take(&mut self.new)
    }
}

/// Parked events, the first thousand, of one projection or all.
///
/// # Errors
/// When Postgres does not answer.
pub async fn list_parked(pool: &PgPool, projection: Option<&str>) -> Result<Vec<ParkedEvent>, sqlx::Error> {
    sqlx::query_as(LIST).bind(projection).fetch_all(pool).await
}

/// Folds the parked events of the aggregate that the event at `position` belongs to, in order, into the live version.
/// What still cannot be folded is parked again. Answers how many were folded.
///
/// # Errors
/// When nothing is parked there, or Postgres does not answer.
pub async fn retry_parked(
    pool: &PgPool,
    projection: &dyn Projection,
    tenant: TenantId,
    position: Position,
) -> Result<u64, EngineError> {
    let live = live_version(pool, projection.name()).await?;
    let found: Option<(String, String)> = sqlx::query_as(AGGREGATE_AT)
        .bind(projection.name())
        .bind(live.version)
        .bind(tenant.0)
        .bind(position.as_i64())
        .fetch_optional(pool)
        .await?;
    let Some((aggregate, aggregate_id)) = found else {
        let name = projection.name();
        return Err(EngineError::Version(format!(
            "{name} has no parked event of tenant {tenant} at position {position}"
        )));
    };
    retry_aggregate(pool, projection, &live, tenant, &aggregate, &aggregate_id).await
}

async fn retry_aggregate(
    pool: &PgPool,
    projection: &dyn Projection,
    live: &Version,
    tenant: TenantId,
    aggregate: &str,
    aggregate_id: &str,
) -> Result<u64, EngineError> {
    let mut transaction = pool.begin().await?;
    enter(&mut transaction, projection.name(), live.version).await?;
    // The projector waits meanwhile, and then reads anew what it had at hand: rows may be shared by several aggregates. Its
    // cursor has passed these events long ago and stays where it is.
    count_step(&mut transaction, projection.name(), live.version).await?;
    let events = sqlx::query_as(OF_AGGREGATE)
        .bind(tenant.0)
        .bind(projection.name())
        .bind(live.version)
        .bind(aggregate)
        .bind(aggregate_id)
        .fetch_all(&mut *transaction)
        .await?;
    sqlx::query(FREE)
        .bind(projection.name())
        .bind(live.version)
        .bind(tenant.0)
        .bind(aggregate)
        .bind(aggregate_id)
        .execute(&mut *transaction)
        .await?;
    let batch = Batch {
        tenant,
        from: Position::ZERO,
        to: Position::ZERO,
        events,
    };
    let mut at_hand = AtHand::default();
    let folded = step(
        &mut transaction,
        projection,
        live.version,
        Fence::Cursors,
        &mut at_hand,
        &[batch],
    )
    .await?;
    transaction.commit().await?;
    Ok(folded)
}
