//! One tenant's lane: place what comes, write it, answer it.
//!
//! No timer: an idle tenant commits at once, a busy one batches by itself, since requests gather while the batch before
//! them is being written. Steps of a turn:
//!
//! 1. *Write* the batch that is ready: one call; its COMMIT is the commit point.
//! 2. Meanwhile *answer* the batch before it, which is durable, and *place* the next one behind this one, request by
//!    request as they come (`waiting`: within a batch the first on an aggregate or key wins; the others wait on).
//! 3. *Settle* (`settle`): what was refused is answered; what only missed the head goes round again, and so does what was placed
//!    behind it. After three misses the head is locked first and the batch placed under the lock (`contended`); then this
//!    process has its turn, and while others want theirs it gives way between two of its own, so that busy processes all
//!    make progress. What was signed with a key that another has followed goes round again with that one.
//! 4. If the outcome is *unknown*, find out before anything else is taken.

mod contended;
mod settle;

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures::FutureExt;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::ids::TenantId;
use crate::ledger::call::{close, give_back};
use crate::ledger::draft::Draft;
use crate::ledger::place::Head;
use crate::ledger::read::read_head;
use crate::ledger::request::{AppendError, Committed};
use crate::ledger::sequencer::Shared;
use crate::ledger::waiting::{BatchLimits, Waiting, WaitingRoom};
use crate::ledger::write::{Outcome, write};

/// Misses of the head after which the lane takes the lock before it places.
const MISSES_BEFORE_LOCKING: u32 = 3;

pub(super) struct Lane {
    tenant: TenantId,
    shared: Arc<Shared>,
    queue: mpsc::UnboundedReceiver<Waiting>,
    waiting: WaitingRoom,
    head: Option<Head>,
    misses: u32,
    /// Since when this process has its turn at a head that others move, too.
    turn_began: Option<Instant>,
}

/// What a lane carries from one batch to the next.
#[derive(Default)]
struct UnderWay {
    /// Written, and not yet answered.
    written: Option<Draft>,
    /// Placed behind it.
    next: Option<Draft>,
    connection: Option<PoolConnection<Postgres>>,
}

/// A batch that is complete, and its turn to be written: see `SequencerOptions::writers`.
struct Ready {
    draft: Draft,
    turn: Option<OwnedSemaphorePermit>,
}

impl Lane {
    pub(super) fn new(
        tenant: TenantId,
        shared: Arc<Shared>,
        queue: mpsc::UnboundedReceiver<Waiting>,
    ) -> Self {
        Self {
            tenant,
            shared,
            queue,
            waiting: WaitingRoom::default(),
            head: None,
            misses: 0,
            turn_began: None,
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
        let mut under_way = UnderWay::default();
        loop {
            if self.misses > 0 && self.is_contended() {
                // The turn is over: another process has written.
                self.give_way().await;
                self.write_under_lock().await;
            } else if self.misses >= MISSES_BEFORE_LOCKING {
                self.write_under_lock().await;
            } else if let Some(ready) = self.make_ready(&mut under_way).await {
                self.turn(ready, &mut under_way).await;
            }
            if under_way.next.is_none() {
                // Who is answered may ask again at once.
                self.answer_written(under_way.written.take());
                self.drain();
                if self.waiting.is_empty() {
                    return;
                }
            }
        }
    }

    fn drain(&mut self) {
        while let Ok(next) = self.queue.try_recv() {
            self.waiting.enter(next);
        }
    }

    /// The batch to be written now: what was placed meanwhile, with whoever else has come. None when all of it is
    /// answered already.
    async fn make_ready(&mut self, under_way: &mut UnderWay) -> Option<Ready> {
        let mut draft = match under_way.next.take() {
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
        let turn = self.await_turn(&mut draft, under_way).await;
        self.waiting.send_off();
        (!draft.is_empty()).then_some(Ready { draft, turn })
    }

    /// Goes on collecting until it may write, and keeps nobody waiting meanwhile: neither those whose batch is written, nor
    /// another lane that has its turn and needs a connection.
    async fn await_turn(
        &mut self,
        draft: &mut Draft,
        under_way: &mut UnderWay,
    ) -> Option<OwnedSemaphorePermit> {
        let mut turn = pin!(Arc::clone(&self.shared.writers).acquire_owned());
        let turn = match turn.as_mut().now_or_never() {
            Some(turn) => turn,
            None => {
                under_way.connection = None;
                self.answer_written(under_way.written.take());
                self.place_while(turn, draft).await
            }
        };
        // The semaphore is never closed.
        turn.ok()
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

    /// Steps 1 to 4.
    async fn turn(&mut self, ready: Ready, under_way: &mut UnderWay) {
        let Ready { draft, turn } = ready;
        let pool = self.shared.database.log().clone();
        let written = under_way.written.take();
        let mut next = self.draft_on(draft.batch.after);
        let outcome = {
            let mut writing = pin!(write_out(&pool, &mut under_way.connection, &draft));
            // Under way before anything else is done.
            let at_once = writing.as_mut().now_or_never();
            self.answer_written(written);
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
            under_way.written = Some(draft);
            under_way.next = (!next.is_empty()).then_some(next);
            return;
        }
        // What was placed behind it stands on nothing.
        self.waiting.start_over();
        self.waiting.put_back(next.into_waiting());
        self.settle(outcome, draft).await;
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
            match self.queue.recv().await {
                Some(waiting) => self.waiting.enter(waiting),
                None => pending().await,
            }
        }
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

    fn answer_written(&mut self, draft: Option<Draft>) {
        let Some(draft) = draft else { return };
        self.waiting
            .refuse_overtaken(draft.placed().map(|(request, _)| request));
        draft.answer_written();
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
