//! Read your writes: waiting, bounded, until a read model has folded a position.
//!
//! All who wait in a process share one look at Postgres: a task that reads the cursors of everything that is waited for
//! with one statement on one connection, tells whom it concerns, and looks again after [`POLL`], or at once when somebody
//! new has come. With nobody waiting it sleeps. So a crowd costs what one waiter costs; how many there may be is bounded,
//! and whoever finds the room full is told so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use counterfoil_events::fair_places::{FairPlaces, Full};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::{CALL_TIMEOUT, Database, give_back, within};
use sqlx::PgPool;
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the cursors are looked at: well under the lag budget of 50 ms.
const POLL: Duration = Duration::from_millis(8);
/// Who may wait at once, by default: what one look at the cursors finds in a few milliseconds.
pub const MAX_WAITING: usize = 1024;
/// Of all places one tenant has one in so many, so that a few do not keep all others from waiting.
const SHARES: usize = 8;
/// As `counterfoil_log`, which sees every tenant's cursors.
const LOOK: &str = "SELECT asked.at, coalesce(c.position, 0), EXISTS (SELECT FROM counterfoil.parked_events p \
                        WHERE p.tenant_id = asked.tenant_id AND p.projection = asked.projection \
                        AND p.version = v.version AND p.position = asked.position) \
                    FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[]) \
                        AS asked (at, tenant_id, projection, position) \
                    JOIN counterfoil.projection_versions v ON v.projection = asked.projection AND v.state = 'live' \
                    LEFT JOIN counterfoil.projection_cursors c ON c.tenant_id = asked.tenant_id \
                        AND c.projection = asked.projection AND c.version = v.version";

/// What a reader asks for, from a `Counterfoil-Wait-For` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Why a wait was not begun, or not ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// As many wait as may, of all or of one tenant.
    #[error("of requests that wait, {0}, or read without waiting")]
    Crowded(#[from] Full),
    /// Postgres does not answer.
    #[error("the cursors cannot be read: {0}")]
    Unreadable(Arc<str>),
    /// The process ends.
    #[error("nobody looks at the cursors any more: the process is stopping")]
    Stopping,
}

/// What is waited for: many may wait for the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    projection: String,
    wait: WaitFor,
}

/// What the last look saw of it.
#[derive(Debug, Clone, Default)]
enum Seen {
    /// Nothing yet.
    #[default]
    Unseen,
    Standing {
        at: Position,
        parked: bool,
    },
    Unreadable(Arc<str>),
}

/// Where all who wait in a process do so. Dropping it ends its task; [`stop`](WaitingRoom::stop) waits for that.
pub struct WaitingRoom {
    places: FairPlaces,
    room: Arc<Room>,
    stop: CancellationToken,
    task: AsyncMutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Room {
    waiting: Mutex<HashMap<Asked, watch::Sender<Seen>>>,
    came: Notify,
}

impl WaitingRoom {
    /// Opens it for `limit` waiters at most, and an eighth of them of one tenant.
    #[must_use]
    pub fn start(database: &Database, limit: usize) -> Self {
        let (room, stop) = (Arc::new(Room::default()), CancellationToken::new());
        let (looking, until, pool) = (Arc::clone(&room), stop.clone(), database.log().clone());
        let task = tokio::spawn(async move {
            until.run_until_cancelled(looking.keep_looking(&pool)).await;
            // Whoever still waits hears that nobody looks any more.
            looking.waiting().clear();
        });
        Self {
            places: FairPlaces::new(limit, limit.div_ceil(SHARES)),
            room,
            stop,
            task: AsyncMutex::new(Some(task)),
        }
    }

    /// Waits, for a reader in `reader`'s scope, until the live version of `projection` has folded the position, until
    /// `deadline` at most.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub async fn wait(
        &self,
        reader: TenantId,
        projection: &str,
        wait: WaitFor,
        deadline: Instant,
    ) -> Result<WaitOutcome, WaitError> {
        let _place = self.places.take(reader)?;
        if self.stop.is_cancelled() {
            return Err(WaitError::Stopping);
        }
        let mut seen = self.room.enter(projection, wait);
        let mut stands = Position::ZERO;
        loop {
            match timeout_at(deadline, seen.changed()).await {
                Err(_) => return Ok(WaitOutcome::TimedOut { at: stands }),
                Ok(Err(_)) => return Err(WaitError::Stopping),
                Ok(Ok(())) => {}
            }
            match &*seen.borrow_and_update() {
                Seen::Standing { parked: true, .. } => return Ok(WaitOutcome::Parked),
                Seen::Standing { at, .. } if *at >= wait.position => return Ok(WaitOutcome::Reached),
                Seen::Standing { at, .. } => stands = *at,
                Seen::Unreadable(why) => return Err(WaitError::Unreadable(Arc::clone(why))),
                Seen::Unseen => {}
            }
        }
    }

    /// Ends it; whoever waits is told.
    pub async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the waiting room ended badly");
        }
    }
}

impl Drop for WaitingRoom {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Room {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Asked, watch::Sender<Seen>>> {
        // Whole after every use, even one that panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, projection: &str, wait: WaitFor) -> watch::Receiver<Seen> {
        let asked = Asked {
            projection: projection.to_owned(),
            wait,
        };
        let seen = self.waiting().entry(asked).or_default().subscribe();
        self.came.notify_one();
        seen
    }

    async fn keep_looking(&self, pool: &PgPool) {
        loop {
            let asked = self.asked();
            if asked.is_empty() {
                self.came.notified().await;
                continue;
            }
            match look(pool, &asked).await {
                Ok(seen) => self.tell(&asked, seen),
                Err(error) => self.tell_all(&asked, &error.to_string()),
            }
            tokio::select! {
                () = sleep(POLL) => {}
                () = self.came.notified() => {}
            }
        }
    }

    /// What is waited for now; what nobody waits for any more goes.
    fn asked(&self) -> Vec<Asked> {
        let mut waiting = self.waiting();
        waiting.retain(|_, told| told.receiver_count() > 0);
        waiting.keys().cloned().collect()
    }

    fn tell(&self, asked: &[Asked], seen: Vec<(usize, Seen)>) {
        let waiting = self.waiting();
        for (at, seen) in seen {
            if let Some(told) = asked.get(at).and_then(|asked| waiting.get(asked)) {
                told.send_replace(seen);
            }
        }
    }

    fn tell_all(&self, asked: &[Asked], why: &str) {
        let why: Arc<str> = why.into();
        let seen = (0..asked.len()).map(|at| (at, Seen::Unreadable(Arc::clone(&why))));
        self.tell(asked, seen.collect());
    }
}

/// Where everything stands that is asked for, by its place in `asked`. A read model without a live version stands nowhere.
async fn look(pool: &PgPool, asked: &[Asked]) -> Result<Vec<(usize, Seen)>, sqlx::Error> {
    let places: Vec<i64> = (0..).take(asked.len()).collect();
    let tenants: Vec<Uuid> = asked.iter().map(|asked| asked.wait.tenant.0).collect();
    let projections: Vec<&str> = asked.iter().map(|asked| asked.projection.as_str()).collect();
    let positions: Vec<i64> = asked.iter().map(|asked| asked.wait.position.as_i64()).collect();
    let cursors = sqlx::query_as(LOOK)
        .bind(places)
        .bind(tenants)
        .bind(projections)
        .bind(positions);
    let mut connection = pool.acquire().await?;
    let found: Result<Vec<(i64, i64, bool)>, _> =
        within(CALL_TIMEOUT, cursors.fetch_all(&mut *connection)).await;
    give_back(connection, &found);
    let seen = |(place, at, parked): (i64, i64, bool)| {
        let at = Position::from_i64(at);
        (usize::try_from(place).ok(), Seen::Standing { at, parked })
    };
    Ok(found?
        .into_iter()
        .map(seen)
        .filter_map(|(place, seen)| Some((place?, seen)))
        .collect())
}
