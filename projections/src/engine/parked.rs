//! Parked events: what could not be folded, and later events of the same aggregate in order behind it.
//!
//! Everything else passes. Parked events are visible and can be retried once the cause is mended; a diff lists and
//! excludes them.

use std::collections::HashSet;

use counterfoil_events::ids::{Position, TenantId};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::engine::apply::{Batch, fold_batches};
use crate::engine::cursor::{cursors, take_cursors};
use crate::engine::error::EngineError;
use crate::engine::event::FoldEvent;
use crate::engine::projection::Projection;
use crate::engine::rows::Rows;
use crate::engine::version::{Version, enter, live_version};

const AGGREGATES: &str = "SELECT DISTINCT tenant_id, aggregate, aggregate_id FROM counterfoil.parked_events \
                          WHERE projection = $1 AND version = $2 AND tenant_id = ANY($3)";
const PARK: &str = "INSERT INTO counterfoil.parked_events \
                    (tenant_id, projection, version, position, aggregate, aggregate_id, type, reason) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
const LIST: &str = "SELECT tenant_id, projection, version, position, aggregate, aggregate_id, type, reason \
                    FROM counterfoil.parked_events WHERE ($1::text IS NULL OR projection = $1) \
                    ORDER BY projection, version, tenant_id, position LIMIT 1000";
const AGGREGATE_AT: &str = "SELECT aggregate, aggregate_id FROM counterfoil.parked_events \
                            WHERE projection = $1 AND version = $2 AND tenant_id = $3 AND position = $4";
const FREE: &str = "DELETE FROM counterfoil.parked_events WHERE projection = $1 AND version = $2 AND tenant_id = $3 \
                    AND aggregate = $4 AND aggregate_id = $5";
const OF_AGGREGATE: &str = "SELECT position, envelope FROM counterfoil.events e \
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

/// The aggregates that are parked, among the tenants of a batch.
pub(super) struct Parked {
    aggregates: HashSet<(TenantId, String, String)>,
}

impl Parked {
    pub(super) async fn read(
        connection: &mut PgConnection,
        projection: &str,
        version: i32,
        batches: &[Batch],
    ) -> Result<Self, sqlx::Error> {
        let tenants: Vec<Uuid> = batches.iter().map(|batch| batch.tenant.0).collect();
        let rows: Vec<(Uuid, String, String)> = sqlx::query_as(AGGREGATES)
            .bind(projection)
            .bind(version)
            .bind(tenants)
            .fetch_all(connection)
            .await?;
        Ok(Self {
            aggregates: rows
                .into_iter()
                .map(|(tenant, kind, id)| (TenantId(tenant), kind, id))
                .collect(),
        })
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
}

pub(super) async fn park(
    connection: &mut PgConnection,
    projection: &str,
    version: i32,
    parked: &mut Parked,
    event: &FoldEvent<'_>,
    reason: &str,
) -> Result<(), sqlx::Error> {
    tracing::warn!(projection, version, tenant = %event.tenant, position = %event.position, reason, "an event is parked");
    metrics::counter!("counterfoil_events_parked_total", "projection" => projection.to_owned()).increment(1);
    parked.aggregates.insert((
        event.tenant,
        event.aggregate.to_owned(),
        event.aggregate_id.to_owned(),
    ));
    sqlx::query(PARK)
        .bind(event.tenant.0)
        .bind(projection)
        .bind(version)
        .bind(event.position.as_i64())
        .bind(event.aggregate)
        .bind(event.aggregate_id)
        .bind(event.event_type)
        .bind(reason)
        .execute(connection)
        .await?;
    Ok(())
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
    // The projector waits meanwhile: the aggregate's rows may be shared with others. The cursor itself has passed these
    // events long ago and stays where it is.
    let stands = cursors(&mut transaction, projection.name(), live.version).await?;
    let at = stands.get(&tenant).copied().unwrap_or_default();
    take_cursors(&mut transaction, projection, live.version, &[(tenant, at)]).await?;
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
    let mut rows = Rows::default();
    let folded = fold_batches(&mut transaction, projection, live.version, &mut rows, &[batch]).await?;
    transaction.commit().await?;
    Ok(folded)
}
