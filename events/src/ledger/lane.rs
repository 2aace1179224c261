//! One tenant's lane: drain what waits, place it, write it, answer it.
//!
//! No timer: an idle tenant commits at once, a busy one batches by itself, since requests gather while the call
//! before them is under way. Steps of a turn:
//!
//! 1. *Choose* (`waiting`): within a batch the first request on an aggregate or key wins; the others wait on.
//! 2. *Place* on the cached head.
//! 3. *Write*: one call; its COMMIT is the commit point.
//! 4. *Settle*: answer what was written or refused; what only missed the head goes round again. After three misses
//!    the head is locked first and the batch placed under the lock, as long as others write, so that two busy
//!    processes both make progress. What was signed with a key that another has followed goes round again with that
//!    one.
//! 5. If the outcome is *unknown*, find out before anything else is taken.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Acquire, PgConnection, Postgres, Transaction};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::ids::{EventHash, KeyId, Position, TenantId};
use crate::ledger::call::{CALL_TIMEOUT, close, within};
use crate::ledger::place::{Head, PlacedBatch, place};
use crate::ledger::read::read_head;
use crate::ledger::request::{AppendError, AppendRequest, Appended, Committed};
use crate::ledger::sequencer::Shared;
use crate::ledger::unknown::{Resolved, resolve};
use crate::ledger::waiting::{BatchLimits, Waiting, WaitingRoom};
use crate::ledger::write::{Outcome, Refusal, RefusedItem, classify, write};
use crate::timestamp::Timestamp;

/// Misses of the head after which the lane takes the lock before it places.
const MISSES_BEFORE_LOCKING: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long one look for an unknown outcome takes at most, once nobody waits for it any more.
const LATE_LOOK: Duration = Duration::from_secs(3);
const LOCK_HEAD: &str =
    "SELECT head_position, head_hash, head_fence, head_recorded_at FROM counterfoil.lock_head($1)";

pub(super) struct Lane {
    tenant: TenantId,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Waiting>,
    waiting: WaitingRoom,
    head: Option<Head>,
    misses: u32,
}

/// A batch that was tried.
struct Tried {
    outcome: Outcome,
    placed: PlacedBatch,
    /// Whether others had moved the head when it was locked.
    contended: bool,
}

impl Tried {
    /// All of it was left out: there is nothing to write, and the head stays where it is.
    fn nothing(placed: PlacedBatch) -> Self {
        Self {
            outcome: Outcome::Written,
            placed,
            contended: false,
        }
    }
}

impl Lane {
    pub(super) fn new(tenant: TenantId, shared: Arc<Shared>, queue: mpsc::Receiver<Waiting>) -> Self {
        Self {
            tenant,
            shared,
            queue,
            waiting: WaitingRoom::default(),
            head: None,
            misses: 0,
        }
    }

    pub(super) async fn run(mut self) {
        while self.wait_for_work().await {
            while !self.waiting.is_empty() {
                // Who has just been answered may ask again at once, and who was woken with the first may be about to:
                // one commit takes them all. It costs an idle system nothing.
                yield_now().await;
                self.drain();
                self.turn().await;
                self.drain();
            }
        }
    }

    /// Waits for a first request; false when the lane is to end.
    async fn wait_for_work(&mut self) -> bool {
        let idle = self.shared.options.idle;
        let first = match tokio::time::timeout(idle, self.queue.recv()).await {
            Ok(first) => first,
            Err(_) => {
                self.shared.retire(self.tenant);
                self.queue.close();
                self.queue.recv().await
            }
        };
        let Some(first) = first else { return false };
        self.waiting.enter(first);
        self.drain();
        true
    }

    fn drain(&mut self) {
        while self.waiting.len() < self.shared.options.queue_per_tenant {
            let Ok(next) = self.queue.try_recv() else { break };
            self.waiting.enter(next);
        }
    }

    async fn turn(&mut self) {
        let options = &self.shared.options;
        let batch = self.waiting.choose(BatchLimits {
            events: options.batch_events,
            bytes: options.batch_bytes,
        });
        let mut connection = match self.shared.database.log().acquire().await {
            Ok(connection) => connection,
            Err(error) => return answer_all(batch, &unavailable(&error)),
        };
        let tried = match self.misses >= MISSES_BEFORE_LOCKING {
            true => self.write_under_lock(&mut connection, &batch).await,
            false => self.write_on_cached_head(&mut connection, &batch).await,
        };
        // Before anything else is asked of the pool: a lane that held one connection while it waited for another could
        // wait for ever, with all others.
        match &tried {
            Err(AppendError::Unavailable(_))
            | Ok(Tried {
                outcome: Outcome::Unknown(_),
                ..
            }) => close(connection),
            _ => drop(connection),
        }
        match tried {
            Ok(tried) => self.settle(tried, batch).await,
            Err(error) => answer_all(batch, &error),
        }
    }

    /// Steps 2 and 3, in one round trip.
    async fn write_on_cached_head(
        &mut self,
        connection: &mut PgConnection,
        batch: &[Waiting],
    ) -> Result<Tried, AppendError> {
        let head = match self.head {
            Some(head) => head,
            None => match read_head(connection, self.tenant).await {
                Ok(Some(found)) => *self.head.insert(found.head),
                Ok(None) => return Err(AppendError::MissingTenant(self.tenant)),
                Err(error) => return Err(unavailable(&error)),
            },
        };
        let placed = self.place(head, batch);
        if placed.events.is_empty() {
            return Ok(Tried::nothing(placed));
        }
        fail::fail_point!("ledger.before_commit");
        let outcome = write(connection, &placed, &requests(batch)).await;
        fail::fail_point!("ledger.after_commit");
        Ok(Tried {
            outcome,
            placed,
            contended: false,
        })
    }

    /// Steps 2 and 3 for a head that others keep moving.
    async fn write_under_lock(
        &self,
        connection: &mut PgConnection,
        batch: &[Waiting],
    ) -> Result<Tried, AppendError> {
        let begun = within(CALL_TIMEOUT, connection.begin()).await;
        let mut transaction = begun.map_err(|error| unavailable(&error))?;
        let locked = within(CALL_TIMEOUT, lock_head(&mut transaction, self.tenant)).await;
        let head = locked
            .map_err(|error| unavailable(&error))?
            .ok_or(AppendError::MissingTenant(self.tenant))?;
        let contended = self.head != Some(head);
        let placed = self.place(head, batch);
        if placed.events.is_empty() {
            return Ok(Tried::nothing(placed));
        }
        let outcome = match write(&mut transaction, &placed, &requests(batch)).await {
            Outcome::Written => commit(transaction).await,
            other => other,
        };
        Ok(Tried {
            outcome,
            placed,
            contended,
        })
    }

    fn place(&self, head: Head, batch: &[Waiting]) -> PlacedBatch {
        place(
            self.tenant,
            head,
            self.shared.clock.now(),
            self.shared.key.get().as_ref(),
            &requests(batch),
        )
    }

    /// Step 4.
    async fn settle(&mut self, tried: Tried, batch: Vec<Waiting>) {
        let Tried {
            outcome,
            placed,
            contended,
        } = tried;
        match outcome {
            Outcome::Written => self.settle_written(&placed, batch),
            Outcome::Refused(refusal) => self.settle_refused(&refusal, batch).await,
            Outcome::Missing => answer_all(batch, &AppendError::MissingTenant(self.tenant)),
            Outcome::Superseded(current) => self.settle_superseded(current, batch).await,
            Outcome::Failed(reason) => self.settle_failed(&reason, batch),
            Outcome::Unknown(reason) => {
                tracing::warn!(tenant = %self.tenant, reason, "the outcome of an append is unknown; finding out");
                self.find_out(placed, batch).await;
            }
        }
        // Others still write: to try without the lock again would only waste three batches before taking it.
        if contended {
            self.misses = MISSES_BEFORE_LOCKING;
        }
    }

    /// One request may have spoiled it for all of them.
    fn settle_failed(&mut self, reason: &str, batch: Vec<Waiting>) {
        self.head = None;
        tracing::error!(tenant = %self.tenant, requests = batch.len(), reason, "Postgres refused an append");
        if batch.len() == 1 {
            let error = AppendError::Unavailable("Postgres refused the append".to_owned());
            return answer_all(batch, &error);
        }
        self.waiting.put_back_singly(batch);
    }

    fn settle_written(&mut self, placed: &PlacedBatch, batch: Vec<Waiting>) {
        self.head = Some(placed.after);
        if !placed.events.is_empty() {
            self.note_written(placed);
        }
        let mut batch: Vec<Option<Waiting>> = batch.into_iter().map(Some).collect();
        // What was left out has moved nothing.
        for (item, error) in &placed.too_large {
            if let Some(waiting) = batch[*item].take() {
                waiting.answer(Err(error.clone().into()));
            }
        }
        self.waiting.refuse_overtaken(batch.iter().flatten());
        for request in &placed.requests {
            if let Some(waiting) = batch[request.item].take() {
                waiting.answer(Ok(Appended {
                    receipts: placed.receipts(request),
                    replayed: false,
                }));
            }
        }
    }

    fn note_written(&mut self, placed: &PlacedBatch) {
        self.misses = 0;
        metrics::counter!("counterfoil_events_appended_total").increment(placed.events.len() as u64);
        metrics::histogram!("counterfoil_append_batch_events").record(placed.events.len() as f64);
        // No follower is no error: each also polls the heads.
        let _ = self.shared.committed.send(Committed {
            tenant: self.tenant,
            position: placed.after.position,
        });
    }

    async fn settle_refused(&mut self, refusal: &Refusal, batch: Vec<Waiting>) {
        self.head = Some(Head::from(&refusal.head));
        if let Some(reason) = &refusal.quarantine {
            let error = AppendError::Quarantined {
                tenant: self.tenant,
                reason: reason.clone(),
            };
            return answer_all(batch, &error);
        }
        if refusal.refused.is_empty() {
            self.misses += 1;
            metrics::counter!("counterfoil_append_head_misses_total").increment(1);
        }
        let mut batch: Vec<Option<Waiting>> = batch.into_iter().map(Some).collect();
        // A key that was used answers before a sequence that moved: the first receipt is the right answer.
        let (keys, sequences): (Vec<_>, Vec<_>) = refusal
            .refused
            .iter()
            .partition(|item| matches!(item, RefusedItem::Key { .. }));
        for refused in keys.into_iter().chain(sequences) {
            let item = match refused {
                RefusedItem::Key { item, .. } | RefusedItem::Sequence { item, .. } => *item,
            };
            if let Some(waiting) = batch.get_mut(item).and_then(Option::take) {
                let result = self.refused(refused, &waiting.request).await;
                waiting.answer(result);
            }
        }
        self.waiting.put_back(batch.into_iter().flatten().collect());
    }

    /// Takes the key that signs now and places again; without it nothing can be appended.
    async fn settle_superseded(&mut self, current: KeyId, batch: Vec<Waiting>) {
        let ours = self.shared.key.get().public_key().id();
        if self.shared.key.change_to(current).await {
            tracing::info!(%ours, %current, "the signing key was rotated; the new one is in use");
            return self.waiting.put_back(batch);
        }
        tracing::error!(%ours, %current, "the signing key was rotated, and the new one is not in place here");
        answer_all(batch, &AppendError::KeySuperseded { ours, current });
    }

    async fn refused(&self, refused: &RefusedItem, request: &AppendRequest) -> Result<Appended, AppendError> {
        match refused {
            RefusedItem::Sequence {
                aggregate,
                aggregate_id,
                actual,
                ..
            } => Err(AppendError::conflict(aggregate, aggregate_id, *actual)),
            RefusedItem::Key {
                fingerprint,
                position,
                count,
                ..
            } => {
                let ours = request.idempotency.map(|key| hex::encode(key.fingerprint));
                if ours.as_ref() != Some(fingerprint) {
                    return Err(AppendError::KeyReused);
                }
                let receipts = self.shared.reader.receipts(self.tenant, *position, *count);
                let receipts = within(CALL_TIMEOUT, receipts)
                    .await
                    .map_err(|error| unavailable(&error))?;
                Ok(Appended {
                    receipts,
                    replayed: true,
                })
            }
        }
    }

    /// Step 5. Nothing else is taken until the truth is known; who waits too long is told that it is not.
    async fn find_out(&mut self, placed: PlacedBatch, batch: Vec<Waiting>) {
        self.head = None;
        let deadline = Instant::now() + self.shared.options.unknown_timeout;
        let mut batch = Some(batch);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let late = batch.take().into_iter().flatten().chain(self.waiting.leave());
                late.for_each(|waiting| waiting.answer(Err(AppendError::OutcomeUnknown(self.tenant))));
                self.refuse_queued();
                if self.queue.is_closed() && self.queue.is_empty() {
                    return;
                }
            }
            let limit = if left.is_zero() { LATE_LOOK } else { left };
            match resolve(self.shared.database.log(), &placed, limit).await {
                Ok(truth) => return self.settle_resolved(truth, &placed, batch),
                Err(error) => tracing::warn!(tenant = %self.tenant, %error, "the outcome is still unknown"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    fn settle_resolved(&mut self, truth: Resolved, placed: &PlacedBatch, batch: Option<Vec<Waiting>>) {
        tracing::info!(tenant = %self.tenant, written = truth.written, "the outcome is known");
        match batch {
            Some(batch) if truth.written => self.settle_written(placed, batch),
            // Never written: it is as if it had not been tried.
            Some(batch) => self.waiting.put_back(batch),
            None => {}
        }
        self.head = Some(truth.head);
    }

    /// Requests that came while the outcome is unknown have not been tried: nothing was written of them.
    fn refuse_queued(&mut self) {
        while let Ok(waiting) = self.queue.try_recv() {
            let reason = "an earlier append's outcome is being found out".to_owned();
            waiting.answer(Err(AppendError::Unavailable(reason)));
        }
    }
}

fn requests(batch: &[Waiting]) -> Vec<&AppendRequest> {
    batch.iter().map(|waiting| &waiting.request).collect()
}

fn answer_all(batch: Vec<Waiting>, error: &AppendError) {
    for waiting in batch {
        waiting.answer(Err(error.clone()));
    }
}

fn unavailable(error: &sqlx::Error) -> AppendError {
    AppendError::Unavailable(error.to_string())
}

/// The commit point of what was written under the lock.
async fn commit(transaction: Transaction<'_, Postgres>) -> Outcome {
    fail::fail_point!("ledger.before_commit");
    let committed = within(CALL_TIMEOUT, transaction.commit()).await;
    fail::fail_point!("ledger.after_commit");
    match committed {
        Ok(()) => Outcome::Written,
        Err(error) => classify(&error),
    }
}

async fn lock_head(connection: &mut PgConnection, tenant: TenantId) -> Result<Option<Head>, sqlx::Error> {
    let row: Option<(i64, Vec<u8>, i64, chrono::DateTime<chrono::Utc>)> = sqlx::query_as(LOCK_HEAD)
        .bind(tenant.0)
        .fetch_optional(connection)
        .await?;
    row.map(|(position, hash, fence, recorded_at)| {
        let hash = EventHash::try_from(hash.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Head {
            position: Position::from_i64(position),
            hash,
            fence,
            recorded_at: Timestamp::from(recorded_at),
        })
    })
    .transpose()
}
