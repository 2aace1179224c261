//! Who leads, as a hint: a session-level advisory lock. It keeps two processes from doing the same work; that they
//! cannot do harm when both believe they lead is ensured by the fence behind it, not here.

use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};

use crate::ledger::{CALL_TIMEOUT, within};

/// The first key of the locks of this kind; the second is the partition.
const RELAY_CLASS: i32 = 0x4346_0001;
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock($1, $2)";
/// How often a stand-by looks whether it may lead.
const RETRY: Duration = Duration::from_secs(1);

/// A held lock: the connection is the lock.
pub(super) struct Lead {
    connection: PgConnection,
}

impl Lead {
    /// Waits until the lock of `partition` is ours. `each_try` is called before every try.
    pub(super) async fn acquire(
        pool: &PgPool,
        partition: u32,
        mut each_try: impl FnMut(),
    ) -> Result<Self, sqlx::Error> {
        let mut connection = pool.acquire().await?.detach();
        let key = i32::try_from(partition).unwrap_or(i32::MAX);
        loop {
            each_try();
            let held = sqlx::query_scalar(TRY_LOCK)
                .bind(RELAY_CLASS)
                .bind(key)
                .fetch_one(&mut connection);
            if within(CALL_TIMEOUT, held).await? {
                return Ok(Self { connection });
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Whether the connection, and with it the lock, is still there.
    pub(super) async fn still_held(&mut self) -> Result<(), sqlx::Error> {
        within(CALL_TIMEOUT, self.connection.ping()).await
    }
}
