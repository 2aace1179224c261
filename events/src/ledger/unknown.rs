//! Finding out whether a write of unknown outcome happened.
//!
//! 1. On a new connection raise the head's fence: this waits for an orphaned backend that still holds the head's
//!    lock, and makes any later arrival of the same call miss.
//! 2. Look whether our event stands at the first position of the batch: the batch is all or nothing, so that one
//!    event answers for all of it. Present means written, absent means never.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ids::{EventHash, Position};
use crate::ledger::call::{give_back, within};
use crate::ledger::place::{Head, PlacedBatch};
use crate::timestamp::Timestamp;

const RAISE_FENCE: &str =
    "SELECT head_position, head_hash, head_fence, head_recorded_at FROM counterfoil.raise_fence($1)";
const EVENT_AT: &str = "SELECT event_id FROM counterfoil.events WHERE tenant_id = $1 AND position = $2";

/// The truth about a batch, and the head that it left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved {
    pub(super) written: bool,
    pub(super) head: Head,
}

/// Finds out, within `limit`. An error means that the database is still away: try again.
pub(super) async fn resolve(
    pool: &PgPool,
    batch: &PlacedBatch,
    limit: Duration,
) -> Result<Resolved, sqlx::Error> {
    let until = Instant::now() + limit;
    let mut connection = within(limit, pool.acquire()).await?;
    let left = until.saturating_duration_since(Instant::now());
    let truth = within(left, look(&mut connection, batch)).await;
    give_back(connection, &truth);
    truth
}

async fn look(connection: &mut PgConnection, batch: &PlacedBatch) -> Result<Resolved, sqlx::Error> {
    let (position, hash, fence, recorded_at): (i64, Vec<u8>, i64, chrono::DateTime<chrono::Utc>) =
        sqlx::query_as(RAISE_FENCE)
            .bind(batch.tenant.0)
            .fetch_one(&mut *connection)
            .await?;
    let hash = EventHash::try_from(hash.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let head = Head {
        position: Position::from_i64(position),
        hash,
        fence,
        recorded_at: Timestamp::from(recorded_at),
    };
    let Some(first) = batch.events.first() else {
        return Ok(Resolved { written: false, head });
    };
    let found: Option<Uuid> = sqlx::query_scalar(EVENT_AT)
        .bind(batch.tenant.0)
        .bind(first.receipt.position.as_i64())
        .fetch_optional(&mut *connection)
        .await?;
    Ok(Resolved {
        written: found == Some(first.receipt.event_id.0),
        head,
    })
}
