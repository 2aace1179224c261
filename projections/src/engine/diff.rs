//! Comparing a live version with one folded from nothing, at the live version's cursors.
//!
//! All in one REPEATABLE READ transaction that is rolled back: the fresh version lives in temporary tables. Events
//! that the live version has parked are listed by the caller and left out of the fresh one too.

use std::collections::HashSet;

use counterfoil_events::ids::{Position, TenantId};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::engine::cursor::cursors;
use crate::engine::error::EngineError;
use crate::engine::feed::page;
use crate::engine::fold::{AtHand, fold_batches};
use crate::engine::projection::Projection;
use crate::engine::version::{live_version, script};
use crate::engine::write::{Fence, write};

/// No version has this number: what is parked under it vanishes with the transaction.
const FRESH: i32 = 0;
const ROWS_AT_HAND: usize = 200_000;
/// Differences reported per table; more would not be read.
const MOST: i64 = 100;
const PARKED: &str =
    "SELECT tenant_id, position FROM counterfoil.parked_events WHERE projection = $1 AND version = $2";
/// The server quotes the names; both sides are compared as whole rows.
const COMPARE: &str = "SELECT format('SELECT %1$L AS table_name, ''live'' AS side, r.tenant_id, r.key, to_jsonb(r)::text AS row \
      FROM (SELECT * FROM %2$I.%1$I EXCEPT SELECT * FROM pg_temp.%1$I) r \
    UNION ALL SELECT %1$L, ''fresh'', r.tenant_id, r.key, to_jsonb(r)::text \
      FROM (SELECT * FROM pg_temp.%1$I EXCEPT SELECT * FROM %2$I.%1$I) r \
    ORDER BY 3, 4, 2 LIMIT %3$s', $1::text, format('read_%s_v%s', $2::text, $3::int), $4::bigint)";

/// A row that only one side has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Difference {
    /// Which table.
    pub table_name: String,
    /// `live` or `fresh`: which side has it.
    pub side: String,
    /// Whose row.
    pub tenant_id: Uuid,
    /// Which row.
    pub key: String,
    /// The row, as JSON.
    pub row: String,
}

/// Folds the logs anew up to the live version's cursors and compares. Empty when equal.
///
/// # Errors
/// See [`EngineError`].
pub async fn diff(pool: &PgPool, projection: &dyn Projection) -> Result<Vec<Difference>, EngineError> {
    let live = live_version(pool, projection.name()).await?;
    let mut transaction = pool.begin().await?;
    script(
        &mut transaction,
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL search_path = pg_temp",
    )
    .await?;
    fold_fresh(&mut transaction, projection, live.version).await?;
    let mut differences = Vec::new();
    for table in projection.declaration().tables {
        let compare: String = sqlx::query_scalar(COMPARE)
            .bind(table.name)
            .bind(projection.name())
            .bind(live.version)
            .bind(MOST)
            .fetch_one(&mut *transaction)
            .await?;
        let found: Vec<Difference> = sqlx::query_as(&compare)
            .persistent(false)
            .fetch_all(&mut *transaction)
            .await?;
        differences.extend(found);
    }
    transaction.rollback().await?;
    Ok(differences)
}

async fn fold_fresh(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    live: i32,
) -> Result<(), EngineError> {
    script(&mut *connection, projection.declaration().create_tables).await?;
    let parked: Vec<(Uuid, i64)> = sqlx::query_as(PARKED)
        .bind(projection.name())
        .bind(live)
        .fetch_all(&mut *connection)
        .await?;
    let parked: HashSet<(TenantId, Position)> = parked
        .into_iter()
        .map(|(tenant, position)| (TenantId(tenant), Position::from_i64(position)))
        .collect();
    let mut at_hand = AtHand::of_empty_tables();
    for (tenant, until) in cursors(connection, projection.name(), live).await? {
        let mut at = Position::ZERO;
        while at < until {
            let mut batch = page(connection, projection, tenant, at, until).await?;
            batch
                .events
                .retain(|event| !parked.contains(&(tenant, Position::from_i64(event.position))));
            at = batch.to;
            fold_batches(connection, projection, FRESH, &mut at_hand, &[batch]).await?;
            // Without the batches: there are no cursors to move.
            write(connection, projection, FRESH, Fence::Cursors, &mut at_hand, &[]).await?;
            at_hand.rows.shrink(ROWS_AT_HAND);
        }
    }
    Ok(())
}
