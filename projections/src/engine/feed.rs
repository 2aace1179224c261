//! Reading the log from Postgres for a version: by bounded steps, only the event types that it folds.

use counterfoil_events::ids::{Position, TenantId};
use sqlx::PgConnection;

use crate::engine::fold::{Batch, LoggedEvent};
use crate::engine::projection::Projection;

/// Positions that one step covers: bounds memory (at 64 KiB an envelope) and the length of a transaction.
pub const STEP: u64 = 4_000;

/// On the primary key; the filter passes over what the projection does not fold. Beside each event, in the same snapshot,
/// where the log ends.
const PAGE: &str = "SELECT position, envelope, hash, \
                           (SELECT h.position FROM counterfoil.chain_heads h WHERE h.tenant_id = $1) AS head \
                    FROM counterfoil.events \
                    WHERE tenant_id = $1 AND position > $2 AND position <= $3 AND type = ANY($4) ORDER BY position";
const HEAD: &str = "SELECT position FROM counterfoil.chain_heads WHERE tenant_id = $1";

/// The next step of a tenant's log from `from`, not beyond `until`, nor beyond its end.
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
    let rows: Vec<(i64, String, Vec<u8>, i64)> = sqlx::query_as(PAGE)
        .bind(tenant.0)
        .bind(from.as_i64())
        .bind(to.as_i64())
        .bind(projection.declaration().event_types)
        .fetch_all(&mut *connection)
        .await?;
    // After a failover the log may end before what was heard of it: what is not there is not passed over.
    let head = match rows.first() {
        Some((.., head)) => Some(*head),
        None => {
            sqlx::query_scalar(HEAD)
                .bind(tenant.0)
                .fetch_optional(connection)
                .await?
        }
    };
    let end = head.map_or(from, Position::from_i64);
    let event = |(position, envelope, hash, _)| LoggedEvent {
        position,
        envelope,
        hash,
    };
    Ok(Batch {
        tenant,
        from,
        to: to.min(end).max(from),
        events: rows.into_iter().map(event).collect(),
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
