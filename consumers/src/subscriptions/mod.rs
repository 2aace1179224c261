//! Subscriptions to logs: whoever wants the events of a tenant as they are recorded, in position order, from any
//! position on.
//!
//! One fan-out in a process: a log that has subscribers has one reader ([`topic`]) and one window of its latest events
//! ([`window`]), however many subscribers follow it. A subscriber ([`Subscription`]) catches up from Postgres by itself
//! until the window holds what comes next. All reads are made as `counterfoil_app` in the tenant's scope ([`read`]).
//! How events get to a client, and who may subscribe, is the edge's business.

mod choice;
mod item;
pub mod read;
mod seats;
mod subscription;
mod topic;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::Database;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use choice::Choice;
pub use item::Item;
use seats::Seats;
pub use subscription::{Batch, Dropped, Subscription};
pub use window::WindowLimits;

use crate::news::{NewsSources, follow};

/// Subscribers that read from Postgres at the same time: catching up must not take the connections of requests.
const CATCHING_UP: usize = 2;
const STREAMS: &str = "counterfoil_subscriptions";

/// Limits of a process's subscriptions.
#[derive(Debug, Clone, Copy)]
pub struct SubscriptionOptions {
    /// Streams at one time.
    pub streams_max: usize,
    /// Of them, of one tenant's log.
    pub streams_per_tenant_max: usize,
    /// Of them, of one caller.
    pub streams_per_principal_max: usize,
    /// How much of each log is held for those who follow live.
    pub window: WindowLimits,
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        Self {
            streams_max: 1_000,
            streams_per_tenant_max: 200,
            streams_per_principal_max: 200,
            window: WindowLimits {
                events_max: 4_096,
                bytes_max: 8 << 20,
            },
        }
    }
}

/// Why a subscription cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The process holds no more.
    #[error("this process holds {0} event streams, no more: try again later")]
    ProcessFull(usize),
    /// One tenant's log is followed by no more.
    #[error("{0} event streams of this tenant are open, no more: end one, or try again later")]
    TenantFull(usize),
    /// One caller has no more.
    #[error("you have {0} event streams open, no more: end one, or try again later")]
    PrincipalFull(usize),
    /// The process stops.
    #[error("this process stops: try again at another, or later")]
    Stopping,
}

/// What somebody wants to follow.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose log.
    pub tenant: TenantId,
    /// Who follows, for the limits.
    pub principal: String,
    /// From behind which position.
    pub after: Position,
    /// Where the log ends, as just read: nothing that was acknowledged before is missed.
    pub head: Position,
    /// Which events.
    pub choice: Choice,
}

/// All subscriptions of a process. Clones are one.
#[derive(Clone)]
pub struct Subscriptions(Arc<Shared>);

struct Shared {
    database: Database,
    options: SubscriptionOptions,
    seats: Mutex<Seats>,
    catching_up: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Subscriptions {
    /// Starts to listen to news; a log is read once somebody follows it.
    #[must_use]
    pub fn start(database: Database, sources: NewsSources, options: SubscriptionOptions) -> Self {
        let shared = Arc::new(Shared {
            database,
            options,
            seats: Mutex::default(),
            catching_up: Semaphore::new(CATCHING_UP),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let (listener, until) = (Arc::clone(&shared), shared.stop.clone());
        shared.tasks.spawn(async move {
            let tell = |news: &[(TenantId, Position)]| listener.tell(news);
            until.run_until_cancelled(follow(sources, tell)).await;
        });
        Self(shared)
    }

    /// Follows a log.
    ///
    /// # Errors
    /// When a limit is reached, or the process stops.
    pub fn subscribe(&self, wish: Wish) -> Result<Subscription, SubscribeError> {
        let shared = &self.0;
        if shared.stop.is_cancelled() {
            return Err(SubscribeError::Stopping);
        }
        let (topic, made) = {
            let mut seats = shared.seats();
            let taken = seats.take(
                wish.tenant,
                &wish.principal,
                wish.head,
                &shared.options,
                &shared.stop,
            )?;
            metrics::gauge!(STREAMS).set(seats.taken() as f64);
            taken
        };
        topic.reaches(wish.head);
        if made {
            let (topic, database) = (Arc::clone(&topic), shared.database.clone());
            shared.tasks.spawn(async move { topic.run(&database).await });
        }
        Ok(Subscription {
            shared: Arc::clone(shared),
            topic,
            principal: wish.principal,
            choice: wish.choice,
            cursor: wish.after,
            live: false,
        })
    }

    /// Its connections, for reads that are not a subscription.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Ends all subscriptions, and the readers behind them.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Counters and pointers, changed by one call each; a panic elsewhere cannot leave them half changed.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: &[(TenantId, Position)]) {
        let seats = self.seats();
        for (tenant, position) in news {
            seats.reaches(*tenant, *position);
        }
    }

    fn leave(&self, tenant: TenantId, principal: &str) {
        let mut seats = self.seats();
        seats.leave(tenant, principal);
        metrics::gauge!(STREAMS).set(seats.taken() as f64);
    }
}
