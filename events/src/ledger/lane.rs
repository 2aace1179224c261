//! One tenant's lane: place what comes, write it, answer it.
//!
//! No timer: an idle tenant commits at once, a busy one batches by itself, since requests gather while the batch before
//! them is being written. Steps of a turn:
//!
//! 1. *Write* the batch that is ready: one call; its COMMIT is the commit point.
//! 2. Meanwhile *answer* the batch before it, which is durable, and *place* the next one behind this one, request by
//!    request as they come (`waiting`: within a batch the first on an aggregate or key wins; the others wait on).
//! 3. *Settle*: what was refused is answered; what only missed the head goes round again, and so does what was placed
//!    behind it. After three misses the head is locked first and the batch placed under the lock, as long as others
//!    write, so that two busy processes both make progress. What was signed with a key that another has followed goes
//!    round again with that one.
//! 4. If the outcome is *unknown*, find out before anything else is taken.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire, PgConnection, PgPool, Postgres, Transaction};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::ids::{EventHash, KeyId, Position, TenantId};
use crate::ledger::call::{CALL_TIMEOUT, close, give_back, within};
use crate::ledger::draft::Draft;
use crate::ledger::place::Head;
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

/// A batch that is complete, and its turn to be written: see `SequencerOptions::writers`.
struct Ready {
    draft: Draft,
    turn: Option<OwnedSemaphorePermit>,
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
            // Who was woken with the first may be about to ask as well: one commit takes them all. It costs an idle
            // system nothing.
            yield_now().await;
            self.work_off().await;
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
        true
    }

    /// Until nothing waits.
    async fn work_off(&mut self) {
        let mut connection = None;
        let (mut next, mut written) = (None, None);
        loop {
            if self.misses >= MISSES_BEFORE_LOCKING {
                self.write_under_lock().await;
            } else if let Some(ready) = self.make_ready(next.take(), &mut written).await {
                (next, written) = self.turn(ready, written.take(), &mut connection).await;
            }
            if next.is_none() {
                // Who is answered may ask again at once.
                written
                    .take()
                    .into_iter()
                    .for_each(|draft| self.answer_written(draft));
                self.drain();
            }
            if next.is_none() && self.waiting.is_empty() {
                return;
            }
        }
    }

    fn drain(&mut self) {
        while self.has_room() {
            let Ok(next) = self.queue.try_recv() else { break };
            self.waiting.enter(next);
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < self.shared.options.queue_per_tenant
    }

    /// The batch to be written now: what was placed meanwhile, with whoever else has come. None when all of it is
    /// answered already.
    async fn make_ready(&mut self, next: Option<Draft>, written: &mut Option<Draft>) -> Option<Ready> {
        let mut draft = match next {
            Some(draft) => draft,
            None => match self.known_head().await {
                Ok(head) => self.draft_on(head),
                Err(error) => {
                    let waiting = self.waiting.leave();
                    waiting.for_each(|waiting| waiting.answer(Err(error.clone())));
                    return None;
                }
            },
        };
        self.drain();
        while let Some(next) = self.waiting.next(self.limits()) {
            draft.add(next, self.shared.clock.now());
        }
        let turn = Arc::clone(&self.shared.writers).acquire_owned();
        let mut turn = pin!(turn);
        let turn = match turn.as_mut().now_or_never() {
            Some(turn) => turn,
            None => {
                written
                    .take()
                    .into_iter()
                    .for_each(|draft| self.answer_written(draft));
                self.place_while(turn, &mut draft).await
            }
        };
        self.waiting.send_off();
        (!draft.is_empty()).then_some(Ready {
            draft,
            turn: turn.ok(),
        })
    }

    fn draft_on(&self, head: Head) -> Draft {
        Draft::open(self.tenant, head, self.shared.key.get())
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: self.shared.options.batch_events,
            bytes: self.shared.options.batch_bytes,
        }
    }

    async fn known_head(&mut self) -> Result<Head, AppendError> {
        if let Some(head) = self.head {
            return Ok(head);
        }
        let acquired = self.shared.database.log().acquire().await;
        let mut connection = acquired.map_err(|error| unavailable(&error))?;
        let found = read_head(&mut connection, self.tenant).await;
        give_back(connection, &found);
        match found.map_err(|error| unavailable(&error))? {
            Some(found) => Ok(*self.head.insert(found.head)),
            None => Err(AppendError::MissingTenant(self.tenant)),
        }
    }

    /// Steps 1 to 4. Answers what was placed behind the batch, and the batch itself if it is written and still to be
    /// answered.
    async fn turn(
        &mut self,
        ready: Ready,
        written: Option<Draft>,
        connection: &mut Option<PoolConnection<Postgres>>,
    ) -> (Option<Draft>, Option<Draft>) {
        let Ready { draft, turn } = ready;
        let pool = self.shared.database.log().clone();
        let mut next = self.draft_on(draft.batch.after);
        let outcome = {
            let mut writing = pin!(write_out(&pool, connection, &draft));
            // Under way before anything else is done.
            let at_once = writing.as_mut().now_or_never();
            written.into_iter().for_each(|draft| self.answer_written(draft));
            match at_once {
                Some(outcome) => outcome,
                None => self.place_while(writing, &mut next).await,
            }
        };
        drop(turn);
        if let Outcome::Written = outcome {
            self.head = Some(draft.batch.after);
            self.waiting.known();
            self.note_written(&draft);
            return ((!next.is_empty()).then_some(next), Some(draft));
        }
        // What was placed behind it stands on nothing.
        self.waiting.start_over();
        self.waiting.put_back(next.into_waiting());
        self.settle(outcome, draft).await;
        (None, None)
    }

    /// Step 2, second half: adds what comes to `draft` until something else is through.
    async fn place_while<T>(&mut self, mut other: Pin<&mut impl Future<Output = T>>, draft: &mut Draft) -> T {
        loop {
            select! {
                biased;
                done = other.as_mut() => return done,
                waiting = self.next_to_place() => draft.add(waiting, self.shared.clock.now()),
            }
        }
    }

    /// Waits for a request that may join the batch in the making.
    async fn next_to_place(&mut self) -> Waiting {
        let limits = self.limits();
        loop {
            if let Some(next) = self.waiting.next(limits) {
                return next;
            }
            let came = match self.has_room() {
                true => self.queue.recv().await,
                false => None,
            };
            match came {
                Some(waiting) => self.waiting.enter(waiting),
                None => pending().await,
            }
        }
    }

    /// A turn for a head that others keep moving: nothing is placed but under its lock.
    async fn write_under_lock(&mut self) {
        self.waiting.start_over();
        let limits = self.limits();
        let batch: Vec<_> = std::iter::from_fn(|| self.waiting.next(limits)).collect();
        self.waiting.start_over();
        let pool = self.shared.database.log().clone();
        let mut connection = match pool.acquire().await {
            Ok(connection) => connection,
            Err(error) => return answer_all(batch, &unavailable(&error)),
        };
        match self.place_and_write(&mut connection, batch).await {
            Ok((outcome, draft, contended)) => {
                release(connection, &outcome);
                match outcome {
                    Outcome::Written => {
                        self.head = Some(draft.batch.after);
                        self.note_written(&draft);
                        self.answer_written(draft);
                    }
                    other => self.settle(other, draft).await,
                }
                // Others still write: to try without the lock again would only waste three batches before taking it.
                self.misses = if contended {
                    MISSES_BEFORE_LOCKING
                } else {
                    self.misses
                };
            }
            Err((error, batch)) => {
                close(connection);
                answer_all(batch, &error);
            }
        }
    }

    /// Answers the outcome, what was tried, and whether others had moved the head when it was locked.
    async fn place_and_write(
        &self,
        connection: &mut PgConnection,
        batch: Vec<Waiting>,
    ) -> Result<(Outcome, Draft, bool), (AppendError, Vec<Waiting>)> {
        let locked = async {
            let mut transaction = within(CALL_TIMEOUT, connection.begin()).await?;
            let head = within(CALL_TIMEOUT, lock_head(&mut transaction, self.tenant)).await?;
            Ok((transaction, head))
        };
        let (mut transaction, head) = match locked.await {
            Ok((transaction, Some(head))) => (transaction, head),
            Ok((_, None)) => return Err((AppendError::MissingTenant(self.tenant), batch)),
            Err(error) => return Err((unavailable(&error), batch)),
        };
        let contended = self.head != Some(head);
        let mut draft = self.draft_on(head);
        for waiting in batch {
            draft.add(waiting, self.shared.clock.now());
        }
        if draft.is_empty() {
            // All of it was too large: nothing to write, and the head stays where it is.
            return Ok((Outcome::Written, draft, false));
        }
        let outcome = match write(&mut transaction, &draft).await {
            Outcome::Written => commit(transaction).await,
            other => other,
        };
        Ok((outcome, draft, contended))
    }

    /// Step 3.
    async fn settle(&mut self, outcome: Outcome, draft: Draft) {
        match outcome {
            // Both ways of writing see to it themselves, since what follows stands on it.
            Outcome::Written => self.answer_written(draft),
            Outcome::Refused(refusal) => self.settle_refused(&refusal, draft).await,
            Outcome::Missing => draft.answer_all(&AppendError::MissingTenant(self.tenant)),
            Outcome::Superseded(current) => self.settle_superseded(current, draft).await,
            Outcome::Failed(reason) => self.settle_failed(&reason, draft.into_waiting()),
            Outcome::Unreached(reason) => draft.answer_all(&AppendError::Unavailable(reason)),
            Outcome::Unknown(reason) => {
                tracing::warn!(tenant = %self.tenant, reason, "the outcome of an append is unknown; finding out");
                self.find_out(draft).await;
            }
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

    fn note_written(&mut self, draft: &Draft) {
        let events = draft.batch.events.len();
        if events == 0 {
            return;
        }
        self.misses = 0;
        metrics::counter!("counterfoil_events_appended_total").increment(events as u64);
        metrics::histogram!("counterfoil_append_batch_events").record(events as f64);
        // No follower is no error: each also polls the heads.
        let _ = self.shared.committed.send(Committed {
            tenant: self.tenant,
            position: draft.batch.after.position,
        });
    }

    fn answer_written(&mut self, draft: Draft) {
        self.waiting
            .refuse_overtaken(draft.placed().map(|(request, _)| request));
        draft.answer_written();
    }

    async fn settle_refused(&mut self, refusal: &Refusal, draft: Draft) {
        self.head = Some(Head::from(&refusal.head));
        if let Some(reason) = &refusal.quarantine {
            let error = AppendError::Quarantined {
                tenant: self.tenant,
                reason: reason.clone(),
            };
            return draft.answer_all(&error);
        }
        if refusal.refused.is_empty() {
            self.misses += 1;
            metrics::counter!("counterfoil_append_head_misses_total").increment(1);
        }
        let mut batch: Vec<Option<Waiting>> = draft.into_waiting().into_iter().map(Some).collect();
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
    async fn settle_superseded(&mut self, current: KeyId, draft: Draft) {
        let ours = self.shared.key.get().public_key().id();
        if self.shared.key.change_to(current).await {
            tracing::info!(%ours, %current, "the signing key was rotated; the new one is in use");
            return self.waiting.put_back(draft.into_waiting());
        }
        tracing::error!(%ours, %current, "the signing key was rotated, and the new one is not in place here");
        draft.answer_all(&AppendError::KeySuperseded { ours, current });
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

    /// Step 4. Nothing else is taken until the truth is known; who waits too long is told that it is not.
    async fn find_out(&mut self, draft: Draft) {
        self.head = None;
        let deadline = Instant::now() + self.shared.options.unknown_timeout;
        let Draft { batch, .. } = &draft;
        let truth = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            match resolve(self.shared.database.log(), batch, left).await {
                Ok(truth) => break Some(truth),
                Err(error) => tracing::warn!(tenant = %self.tenant, %error, "the outcome is still unknown"),
            }
            sleep(RETRY_PAUSE).await;
        };
        match truth {
            Some(truth) => self.settle_resolved(truth, draft),
            None => self.find_out_late(draft).await,
        }
    }

    /// Nobody is kept waiting for it any more, but nothing is taken either.
    async fn find_out_late(&mut self, draft: Draft) {
        let unknown = AppendError::OutcomeUnknown(self.tenant);
        let batch = draft.answer_unknown(&unknown);
        self.waiting
            .leave()
            .for_each(|waiting| waiting.answer(Err(unknown.clone())));
        loop {
            self.refuse_queued();
            if self.queue.is_closed() && self.queue.is_empty() {
                return;
            }
            match resolve(self.shared.database.log(), &batch, LATE_LOOK).await {
                Ok(truth) => {
                    tracing::info!(tenant = %self.tenant, written = truth.written, "the outcome is known");
                    self.head = Some(truth.head);
                    return;
                }
                Err(error) => tracing::warn!(tenant = %self.tenant, %error, "the outcome is still unknown"),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    fn settle_resolved(&mut self, truth: Resolved, draft: Draft) {
        tracing::info!(tenant = %self.tenant, written = truth.written, "the outcome is known");
        self.head = Some(truth.head);
        match truth.written {
            true => {
                self.note_written(&draft);
                self.answer_written(draft);
            }
            // Never written: it is as if it had not been tried.
            false => self.waiting.put_back(draft.into_waiting()),
        }
    }

    /// Requests that came while the outcome is unknown have not been tried: nothing was written of them.
    fn refuse_queued(&mut self) {
        while let Ok(waiting) = self.queue.try_recv() {
            let reason = "an earlier append's outcome is being found out".to_owned();
            waiting.answer(Err(AppendError::Unavailable(reason)));
        }
    }
}

/// Step 1, on the connection at hand. It is kept for the next batch, but given back when others may be waiting for
/// one, and closed when what became of it is unknown: before anything else is asked of the pool, since a lane that held
/// one connection while it waited for another could wait for ever, with all others.
async fn write_out(pool: &PgPool, kept: &mut Option<PoolConnection<Postgres>>, draft: &Draft) -> Outcome {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => match pool.acquire().await {
            Ok(connection) => connection,
            Err(error) => return Outcome::Unreached(error.to_string()),
        },
    };
    fail::fail_point!("ledger.before_commit");
    let outcome = write(&mut connection, draft).await;
    fail::fail_point!("ledger.after_commit");
    let to_spare = pool.num_idle() > 0 || pool.size() < pool.options().get_max_connections();
    match outcome {
        Outcome::Written if to_spare => *kept = Some(connection),
        _ => release(connection, &outcome),
    }
    outcome
}

fn release(connection: PoolConnection<Postgres>, outcome: &Outcome) {
    match outcome {
        Outcome::Unknown(_) => close(connection),
        _ => drop(connection),
    }
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
