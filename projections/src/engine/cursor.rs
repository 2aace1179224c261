//! Cursors: up to where a version has folded each tenant's log. They move in the statement that writes what was folded.

use std::collections::BTreeMap;

use counterfoil_events::ids::{Position, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

const READ: &str =
    "SELECT tenant_id, position FROM counterfoil.projection_cursors WHERE projection = $1 AND version = $2";

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
