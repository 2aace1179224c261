//! Which projector is active, as a hint: a session-level advisory lock, whose connection is the lock.

use std::time::Duration;

use counterfoil_events::ledger::{CALL_TIMEOUT, within};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The first key of the locks of this kind.
const PROJECTOR_CLASS: i32 = 0x4346_0002;
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock($1, 0)";
/// How often a stand-by looks whether it may lead, and a leader whether it still does.
const LOOK: Duration = Duration::from_secs(1);

/// Whether this process leads.
#[derive(Clone)]
pub(super) struct Leader(watch::Receiver<bool>);

impl Leader {
    /// Starts to compete; without `alone` it leads at once.
    pub(super) fn start(tasks: &mut JoinSet<()>, stop: CancellationToken, pool: PgPool, alone: bool) -> Self {
        let (leads, leader) = watch::channel(!alone);
        tasks.spawn(async move {
            match alone {
                true => stop
                    .run_until_cancelled(compete(pool, &leads))
                    .await
                    .unwrap_or(()),
                // Holds the channel open.
                false => stop.cancelled().await,
            }
        });
        Self(leader)
    }

    pub(super) fn leads(&self) -> bool {
        *self.0.borrow()
    }
}

async fn compete(pool: PgPool, leads: &watch::Sender<bool>) {
    let mut held: Option<PgConnection> = None;
    loop {
        held = match held {
            Some(mut connection) => {
                let held = within(CALL_TIMEOUT, connection.ping()).await;
                held.ok().map(|()| connection)
            }
            None => within(CALL_TIMEOUT, take(&pool)).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the projector's lock cannot be asked for");
                None
            }),
        };
        leads.send_if_modified(|leads| std::mem::replace(leads, held.is_some()) != held.is_some());
        tokio::time::sleep(LOOK).await;
    }
}

async fn take(pool: &PgPool) -> Result<Option<PgConnection>, sqlx::Error> {
    // Out of the pool first: should we give up waiting for the answer, a lock that it brings ends with the connection.
    let mut connection = pool.acquire().await?.detach();
    let held: bool = sqlx::query_scalar(TRY_LOCK)
        .bind(PROJECTOR_CLASS)
        .fetch_one(&mut connection)
        .await?;
    Ok(held.then_some(connection))
}
