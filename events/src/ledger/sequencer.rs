//! The one writer of the log: hands each request to its tenant's lane.
//!
//! Lanes are made when a tenant is first written to and end when it has been quiet for a while. Each is a task that
//! the sequencer owns; [`Sequencer::stop`] closes the queues, lets the lanes finish what waits, and awaits them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::ids::TenantId;
use crate::ledger::lane::Lane;
use crate::ledger::places::Places;
use crate::ledger::request::{AppendError, AppendRequest, Appended, Committed, KeyLookup};
use crate::ledger::waiting::Waiting;
use crate::ledger::{CurrentKey, Database, IdempotencyClaim, LogReader};
use crate::timestamp::Clock;

/// How many commit notices a slow follower may miss before it must look for itself.
const NOTICES: usize = 1024;

/// Limits of the sequencer.
#[derive(Debug, Clone, Copy)]
pub struct SequencerOptions {
    /// Requests of a tenant that may be unanswered at one time.
    pub queue_per_tenant: usize,
    /// Roughly how many bytes these may be. A single request may be larger.
    pub queue_bytes_per_tenant: usize,
    /// Events of one batch.
    pub batch_events: usize,
    /// Bytes of one batch.
    pub batch_bytes: usize,
    /// Batches that are being written at one time, of all tenants. Whoever waits for its turn goes on collecting, so a
    /// crowd of tenants makes larger batches instead of more of them.
    pub writers: usize,
    /// How long a request waits for room in the queue.
    pub enqueue_timeout: Duration,
    /// How long waiters are kept while an unknown outcome is being found out.
    pub unknown_timeout: Duration,
    /// How long a quiet lane is kept.
    pub idle: Duration,
}

impl Default for SequencerOptions {
    fn default() -> Self {
        Self {
            queue_per_tenant: 4096,
            // Four thousand of the usual size are a tenth of it; with large documents it is what bounds.
            queue_bytes_per_tenant: 64 * 1024 * 1024,
            // Where the rate stops rising on the reference machine; more only lengthens the wait.
            batch_events: 256,
            batch_bytes: 4 * 1024 * 1024,
            // On the reference machine more only compete inside Postgres.
            writers: 4,
            enqueue_timeout: Duration::from_secs(2),
            unknown_timeout: Duration::from_secs(3),
            idle: Duration::from_secs(60),
        }
    }
}

/// Where a tenant's requests go in.
#[derive(Clone)]
struct Entrance {
    queue: mpsc::UnboundedSender<Waiting>,
    places: Places,
}

/// The one writer of the log in this process. Cheap to clone.
#[derive(Clone)]
pub struct Sequencer {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) reader: LogReader,
    pub(super) key: CurrentKey,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: SequencerOptions,
    pub(super) committed: broadcast::Sender<Committed>,
    pub(super) writers: Arc<Semaphore>,
    /// None once stopping.
    lanes: Mutex<Option<HashMap<TenantId, Entrance>>>,
    tasks: TaskTracker,
}

impl Shared {
    fn lanes(&self) -> std::sync::MutexGuard<'_, Option<HashMap<TenantId, Entrance>>> {
        // The map is only ever inserted into or removed from: a panic elsewhere cannot leave it half changed.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a quiet lane off the map; what was sent before this is still in its queue.
    pub(super) fn retire(&self, tenant: TenantId) {
        if let Some(lanes) = self.lanes().as_mut() {
            lanes.remove(&tenant);
        }
    }
}

impl Sequencer {
    /// A sequencer on `database` that signs with `key`.
    #[must_use]
    pub fn new(
        database: Database,
        key: impl Into<CurrentKey>,
        clock: Arc<dyn Clock>,
        options: SequencerOptions,
    ) -> Self {
        let (committed, _) = broadcast::channel(NOTICES);
        let shared = Shared {
            reader: LogReader::new(database.log().clone()),
            database,
            key: key.into(),
            clock,
            writers: Arc::new(Semaphore::new(options.writers.max(1))),
            options,
            committed,
            lanes: Mutex::new(Some(HashMap::new())),
            tasks: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Appends a request; returns once it is durable.
    ///
    /// # Errors
    /// See [`AppendError`]; with all but [`AppendError::OutcomeUnknown`] nothing was written by this request, and with
    /// [`AppendError::ReceiptsUnread`] by one before it.
    pub async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        let tenant = request.tenant;
        let (answer, answered) = oneshot::channel();
        self.enqueue(tenant, request, answer).await?;
        // A lane answers everything it took; it only goes away with its runtime, and then the outcome is not known.
        answered.await.unwrap_or(Err(AppendError::OutcomeUnknown(tenant)))
    }

    async fn enqueue(
        &self,
        tenant: TenantId,
        request: AppendRequest,
        answer: oneshot::Sender<Result<Appended, AppendError>>,
    ) -> Result<(), AppendError> {
        let options = &self.shared.options;
        let busy = AppendError::Busy {
            tenant,
            queued: options.queue_per_tenant,
        };
        let deadline = Instant::now() + options.enqueue_timeout;
        let weight = request.weight();
        let mut waiting = Waiting {
            request,
            answer,
            place: None,
        };
        loop {
            let lane = self.lane(tenant)?;
            let Ok(place) = timeout_at(deadline, lane.places.take(weight)).await else {
                return Err(busy);
            };
            waiting.place = Some(place);
            match lane.queue.send(waiting) {
                Ok(()) => return Ok(()),
                // It retired in between: the next turn finds or makes its successor.
                Err(mpsc::error::SendError(back)) => waiting = back,
            }
        }
    }

    fn lane(&self, tenant: TenantId) -> Result<Entrance, AppendError> {
        let mut lanes = self.shared.lanes();
        let lanes = lanes.as_mut().ok_or(AppendError::Stopping)?;
        if let Some(lane) = lanes.get(&tenant).filter(|lane| !lane.queue.is_closed()) {
            return Ok(lane.clone());
        }
        // Whoever is in it has a place, and of those there are only so many.
        let (queue, receiver) = mpsc::unbounded_channel();
        let options = &self.shared.options;
        let places = Places::new(options.queue_per_tenant, options.queue_bytes_per_tenant);
        let lane = Entrance { queue, places };
        lanes.insert(tenant, lane.clone());
        self.shared
            .tasks
            .spawn(Lane::new(tenant, Arc::clone(&self.shared), receiver).run());
        Ok(lane)
    }

    /// What an Idempotency-Key stands for.
    ///
    /// # Errors
    /// [`AppendError::OutcomeUnknown`] when Postgres does not answer: an earlier request may have been carried out.
    pub async fn lookup_key(
        &self,
        tenant: TenantId,
        claim: &IdempotencyClaim,
    ) -> Result<KeyLookup, AppendError> {
        let found = self.shared.reader.lookup_key(tenant, claim).await;
        found.map_err(|error| {
            tracing::warn!(%tenant, %error, "an Idempotency-Key could not be looked up");
            AppendError::OutcomeUnknown(tenant)
        })
    }

    /// A reader of the log.
    #[must_use]
    pub fn reader(&self) -> &LogReader {
        &self.shared.reader
    }

    /// The connections it writes through.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.shared.database
    }

    /// The key it signs with: it changes with a rotation.
    #[must_use]
    pub fn key(&self) -> &CurrentKey {
        &self.shared.key
    }

    /// Notices of commits made by this process. A follower that lags looks at the heads instead.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Committed> {
        self.shared.committed.subscribe()
    }

    /// Takes no more requests, finishes what waits, and returns when all lanes have ended.
    pub async fn stop(&self) {
        self.shared.lanes().take();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
