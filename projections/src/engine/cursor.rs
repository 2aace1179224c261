//! Cursors: up to where a version has folded each tenant's log. Moving one is the fence of an ordered follower.

use std::collections::BTreeMap;

use counterfoil_events::ids::{Position, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::error::EngineError;
use crate::engine::projection::Projection;

const READ: &str =
    "SELECT tenant_id, position FROM counterfoil.projection_cursors WHERE projection = $1 AND version = $2";
const BEGIN: &str = "INSERT INTO counterfoil.projection_cursors (tenant_id, projection, version, position) \
                     SELECT unnest($1::uuid[]), $2, $3, 0 ORDER BY 1 ON CONFLICT DO NOTHING";
/// In tenant order, so that two followers wait for each other instead of deadlocking.
const TAKE: &str = "SELECT tenant_id, position FROM counterfoil.projection_cursors \
                    WHERE projection = $1 AND version = $2 AND tenant_id = ANY($3) ORDER BY tenant_id FOR UPDATE";
const TAKE_VERSION: &str =
    "SELECT FROM counterfoil.projection_versions WHERE projection = $1 AND version = $2 FOR UPDATE";
/// Answers the tenants whose cursor stood where it was expected.
const MOVE: &str = "UPDATE counterfoil.projection_cursors c SET position = m.new \
                    FROM unnest($3::uuid[], $4::bigint[], $5::bigint[]) AS m (tenant_id, old, new) \
                    WHERE c.tenant_id = m.tenant_id AND c.projection = $1 AND c.version = $2 AND c.position = m.old \
                    RETURNING c.tenant_id";

/// Where a version stands in each tenant's log.
pub type Cursors = BTreeMap<TenantId, Position>;

/// Reads a version's cursors.
///
/// # Errors
/// When Postgres does not answer.
pub async fn cursors(
    connection: &mut PgConnection,
    projection: &str,
    version: i32,
) -> Result<Cursors, sqlx::Error> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(READ)
        .bind(projection)
        .bind(version)
        .fetch_all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(tenant, position)| (TenantId(tenant), Position::from_i64(position)))
        .collect())
}

/// A move of one tenant's cursor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) tenant: TenantId,
    pub(super) old: Position,
    pub(super) new: Position,
}

/// Takes the cursors for the rest of the transaction, before anything is read: what is folded then stands on rows that
/// nobody else changes meanwhile (the projector, a retry of parked events and the swap all come this way). Where rows
/// span logs, the version itself is taken.
pub(super) async fn take_cursors(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
    expected: &[(TenantId, Position)],
) -> Result<(), EngineError> {
    let tenants: Vec<Uuid> = expected.iter().map(|(tenant, _)| tenant.0).collect();
    if projection.declaration().spans_logs {
        sqlx::query(TAKE_VERSION)
            .bind(projection.name())
            .bind(version)
            .execute(&mut *connection)
            .await?;
    }
    if expected.iter().any(|(_, position)| *position == Position::ZERO) {
        sqlx::query(BEGIN)
            .bind(&tenants)
            .bind(projection.name())
            .bind(version)
            .execute(&mut *connection)
            .await?;
    }
    let found: Vec<(Uuid, i64)> = sqlx::query_as(TAKE)
        .bind(projection.name())
        .bind(version)
        .bind(&tenants)
        .fetch_all(connection)
        .await?;
    let stands = |tenant: TenantId| found.iter().find(|(id, _)| *id == tenant.0).map(|(_, at)| *at);
    match expected
        .iter()
        .find(|(tenant, at)| stands(*tenant) != Some(at.as_i64()))
    {
        Some((tenant, _)) => Err(EngineError::Fenced {
            projection: projection.name(),
            version,
            tenant: *tenant,
        }),
        None => Ok(()),
    }
}

/// Moves cursors in the effect's transaction; the caller rolls back on [`EngineError::Fenced`].
pub(super) async fn move_cursors(
    connection: &mut PgConnection,
    projection: &'static str,
    version: i32,
    moves: &[Move],
) -> Result<(), EngineError> {
    let moved: Vec<Uuid> = sqlx::query_scalar(MOVE)
        .bind(projection)
        .bind(version)
        .bind(moves.iter().map(|step| step.tenant.0).collect::<Vec<_>>())
        .bind(moves.iter().map(|step| step.old.as_i64()).collect::<Vec<_>>())
        .bind(moves.iter().map(|step| step.new.as_i64()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    match moves.iter().find(|step| !moved.contains(&step.tenant.0)) {
        Some(step) => Err(EngineError::Fenced {
            projection,
            version,
            tenant: step.tenant,
        }),
        None => Ok(()),
    }
}
