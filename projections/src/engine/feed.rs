//! Reading the log from Postgres for a version: by bounded steps, only the event types that it folds.

use counterfoil_events::ids::{Position, TenantId};
use sqlx::{Connection, PgConnection, PgPool};

use crate::engine::apply::{Batch, LoggedEvent, apply, is_nothing};
use crate::engine::error::EngineError;
use crate::engine::projection::Projection;
use crate::engine::rows::Rows;
use crate::engine::version::enter;

/// Positions that one step covers: bounds memory (at 64 KiB an envelope) and the length of a transaction.
pub const STEP: u64 = 4_000;

/// On the primary key; the filter passes over what the projection does not fold.
const PAGE: &str = "SELECT position, envelope FROM counterfoil.events \
                    WHERE tenant_id = $1 AND position > $2 AND position <= $3 AND type = ANY($4) ORDER BY position";

/// The next step of a tenant's log from `from`, not beyond `until`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn page(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    tenant: TenantId,
    from: Position,
    until: Position,
) -> Result<Batch, sqlx::Error> {
    let to = until.min(Position(from.0 + STEP));
    let events: Vec<LoggedEvent> = sqlx::query_as(PAGE)
        .bind(tenant.0)
        .bind(from.as_i64())
        .bind(to.as_i64())
        .bind(projection.declaration().event_types)
        .fetch_all(connection)
        .await?;
    Ok(Batch {
        tenant,
        from,
        to,
        events,
    })
}

/// Where a tenant's log is to be folded on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Whose log.
    pub tenant: TenantId,
    /// Where the version stands.
    pub from: Position,
    /// Where it is to stand.
    pub until: Position,
}

/// Folds one step of each log into a version; [`STEP`] positions at most over all of them. Answers where it then stands,
/// of those logs that it came to, and how many events it folded.
///
/// # Errors
/// See [`EngineError`]; `rows` are forgotten by the caller.
pub async fn catch_up(
    pool: &PgPool,
    projection: &dyn Projection,
    version: i32,
    rows: &mut Rows,
    stretches: &[Stretch],
) -> Result<(Vec<(TenantId, Position)>, u64), EngineError> {
    let mut connection = pool.acquire().await?;
    let mut batches = Vec::new();
    let mut room = STEP;
    for Stretch { tenant, from, until } in stretches {
        if room == 0 {
            break;
        }
        let until = Position(until.0.min(from.0 + room));
        let batch = page(&mut connection, projection, *tenant, *from, until).await?;
        room -= batch.to.0 - batch.from.0;
        batches.push(batch);
    }
    let folded = fold_on(&mut connection, projection, version, rows, &batches).await?;
    let stands = batches.iter().map(|batch| (batch.tenant, batch.to)).collect();
    Ok((stands, folded))
}

/// Folds what was read before, all in one transaction; answers how many events it folded.
///
/// # Errors
/// See [`EngineError`]; `rows` are forgotten by the caller.
pub async fn fold(
    pool: &PgPool,
    projection: &dyn Projection,
    version: i32,
    rows: &mut Rows,
    batches: &[Batch],
) -> Result<u64, EngineError> {
    let mut connection = pool.acquire().await?;
    fold_on(&mut connection, projection, version, rows, batches).await
}

async fn fold_on(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
    rows: &mut Rows,
    batches: &[Batch],
) -> Result<u64, EngineError> {
    if is_nothing(batches) {
        // One statement, which is a transaction by itself: each cursor that stands where it should is moved, and that
        // another's does not undoes none of them, since there is no effect that would have to go with it.
        return apply(connection, projection, version, rows, batches).await;
    }
    let mut transaction = connection.begin().await?;
    enter(&mut transaction, projection.name(), version).await?;
    let folded = apply(&mut transaction, projection, version, rows, batches).await?;
    fail::fail_point!("projection.before_commit");
    transaction.commit().await?;
    fail::fail_point!("projection.after_commit");
    Ok(folded)
}
