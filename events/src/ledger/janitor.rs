//! Lets go of Idempotency-Keys that are past their 24 hours, so that the table holds a day's and no more.
//!
//! The append function and every look-up ignore a record from its 24th hour on, so when it goes decides nothing: a
//! repeat after that is a new request either way. Several janitors at once do no harm. As `counterfoil_log`, which may
//! delete from this one table of the log.

use std::time::Duration;

use sqlx::PgPool;

use crate::background::{Background, Heartbeat};

const INTERVAL: Duration = Duration::from_secs(60);
/// Records of one statement: some milliseconds of locks that nobody waits for.
const BATCH: u64 = 2_000;

/// Over the block ranges of `idempotency_age`. The age is asked again outside, since a record may be taken anew between
/// the two.
const DELETE: &str = "DELETE FROM counterfoil.idempotency WHERE ctid = ANY (ARRAY( \
                          SELECT ctid FROM counterfoil.idempotency \
                          WHERE created_at <= now() - interval '24 hours' LIMIT $1)) \
                      AND created_at <= now() - interval '24 hours'";

/// Deletes every record past its 24 hours, a bounded batch at a time; answers how many went.
///
/// # Errors
/// When Postgres does not answer; what was deleted by then is gone, and the next call goes on.
pub async fn delete_expired_keys(log: &PgPool) -> Result<u64, sqlx::Error> {
    let mut gone = 0;
    loop {
        let deleted = sqlx::query(DELETE)
            .bind(BATCH.cast_signed())
            .execute(log)
            .await?
            .rows_affected();
        gone += deleted;
        if deleted < BATCH {
            return Ok(gone);
        }
    }
}

/// Starts to do so once a minute, on the log's pool.
pub fn forget_expired_keys(log: PgPool) -> Background {
    // Each statement is done or not: it may end at any of them.
    Background::start("janitor", |heartbeat| async move { run(&log, &heartbeat).await })
}

async fn run(log: &PgPool, heartbeat: &Heartbeat) {
    loop {
        match delete_expired_keys(log).await {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "expired Idempotency-Keys were deleted"),
            Err(error) => {
                tracing::warn!(%error, "expired Idempotency-Keys could not be deleted; the next minute tries again")
            }
        }
        heartbeat.during(tokio::time::sleep(INTERVAL)).await;
    }
}
