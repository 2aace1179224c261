//! Read your writes: waiting, bounded, until a projection has folded a position.

use std::time::Duration;

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::Database;
use tokio::time::{Instant, sleep};

/// How often the cursor is looked at: well under the lag budget of 50 ms.
const POLL: Duration = Duration::from_millis(8);
const LOOK: &str = "SELECT c.position, EXISTS (SELECT FROM counterfoil.parked_events p \
                        WHERE p.tenant_id = c.tenant_id AND p.projection = c.projection AND p.version = c.version \
                        AND p.position = $3) \
                    FROM counterfoil.projection_cursors c \
                    JOIN counterfoil.projection_versions v USING (projection, version) \
                    WHERE c.tenant_id = $1 AND c.projection = $2 AND v.state = 'live'";

/// What a reader asks for, from a `Counterfoil-Wait-For` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitFor {
    /// Whose log.
    pub tenant: TenantId,
    /// What must have been folded.
    pub position: Position,
}

/// How the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitOutcome {
    /// It has been folded.
    Reached,
    /// It could not be folded: the event is parked.
    Parked,
    /// Not in time; the projection stands here.
    TimedOut {
        /// Its cursor.
        at: Position,
    },
}

/// Waits until the live version of `projection` has folded the position, at most for `patience`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn wait_for(
    database: &Database,
    projection: &str,
    wait: WaitFor,
    patience: Duration,
) -> Result<WaitOutcome, sqlx::Error> {
    let deadline = Instant::now() + patience;
    loop {
        let mut transaction = database.tenant(wait.tenant).await?;
        let seen: Option<(i64, bool)> = sqlx::query_as(LOOK)
            .bind(wait.tenant.0)
            .bind(projection)
            .bind(wait.position.as_i64())
            .fetch_optional(transaction.connection())
            .await?;
        drop(transaction);
        let (at, parked) = seen.map_or((Position::ZERO, false), |(at, parked)| {
            (Position::from_i64(at), parked)
        });
        match (parked, at >= wait.position) {
            (true, _) => return Ok(WaitOutcome::Parked),
            (_, true) => return Ok(WaitOutcome::Reached),
            _ if Instant::now() >= deadline => return Ok(WaitOutcome::TimedOut { at }),
            _ => sleep(POLL).await,
        }
    }
}
