//! One run of a relay from a derived cursor until something is not as expected.
//!
//! 1. *Absorb* what woke us: commit notices of this process, hints of others, scans of the heads.
//! 2. *Take turns*: the tenants that have something to publish, a page each, so that a long refill of one does not
//!    keep the others waiting; within a tenant strictly by position.
//! 3. *Read a page* with the event at the cursor in front. It must be there with the hash that the stream has:
//!    otherwise Postgres was changed behind us, and the tenant is quarantined instead of published.
//! 4. *Publish* the rest of the page behind the fence.
//! 5. With nothing left to publish, wait for all answers, then for the next wake-up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::backbone::compare::Finding;
use crate::backbone::cursor::{StreamCursor, TenantCursor};
use crate::backbone::heads::Heads;
use crate::backbone::message;
use crate::backbone::pipeline::{Broken, Pipeline};
use crate::backbone::relay::Worker;
use crate::ids::{EventHash, Position, TenantId};
use crate::ledger::{Committed, StoredEvent};

/// How often the lock's connection and the stream are looked at, and a refill tells how far it is.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// With nothing to wake it, a session turns at least so often.
const TURN: Duration = Duration::from_secs(1);

/// Why a session ended. All but the first two are everyday life: derive the cursor and go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interruption {
    /// Postgres does not answer.
    #[error("Postgres: {0}")]
    Database(#[from] sqlx::Error),
    /// The ledger is not what the stream was filled from.
    #[error("tenant {0}: {1}")]
    Diverged(TenantId, Finding),
    /// An answer that was not the predicted one.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A ledger that ends before what was published of it.
    #[error("the ledger of tenant {0} ends before what was published of it")]
    Behind(TenantId),
    /// A tenant that was in quarantine is not any more.
    #[error("tenant {0} is out of quarantine")]
    Released(TenantId),
    /// The connection was lost or made anew.
    #[error("the connection to NATS was lost")]
    Disconnected,
    /// Somebody emptied or deleted the stream. With nothing to publish, no answer would tell.
    #[error("the stream is empty or gone")]
    Emptied,
    /// Nothing happened for a while.
    #[error("time to look again")]
    Due,
}

/// Commits that come within this of the first one are read and published together.
const GATHER: Duration = Duration::from_millis(5);

/// A refill under way, for its rate.
struct Refill {
    began: Instant,
    told: Instant,
    events: u64,
}

pub(super) struct Session<'a> {
    worker: &'a mut Worker,
    pipeline: Pipeline,
    stream: StreamCursor,
    /// What was sent, per tenant.
    cursors: HashMap<TenantId, TenantCursor>,
    /// Where each tenant's log ends, as far as known.
    targets: HashMap<TenantId, Position>,
    quarantined: HashSet<TenantId>,
    turns: VecDeque<TenantId>,
    refill: Option<Refill>,
    checked: Instant,
    began: Instant,
    /// Whether the stream has held messages in this session.
    filled: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(worker: &'a mut Worker, stream: StreamCursor) -> Self {
        let name = worker.backbone.prefix().stream(worker.partition);
        let context = worker.backbone.context().clone();
        Self {
            pipeline: Pipeline::new(context, name, stream.last_sequence, worker.options.window),
            cursors: stream.tenants.clone(),
            filled: !stream.tenants.is_empty(),
            stream,
            worker,
            targets: HashMap::new(),
            quarantined: HashSet::new(),
            turns: VecDeque::new(),
            refill: None,
            checked: Instant::now(),
            began: Instant::now(),
        }
    }

    /// Publishes until something is not as expected; then drains what is under way and tells.
    pub(super) async fn run(mut self, heads: Arc<Heads>) -> Interruption {
        let interruption = match self.publish_until_interrupted(heads).await {
            Ok(never) => match never {},
            Err(interruption) => interruption,
        };
        self.pipeline.drain().await;
        interruption
    }

    async fn publish_until_interrupted(
        &mut self,
        heads: Arc<Heads>,
    ) -> Result<std::convert::Infallible, Interruption> {
        self.take_heads(&heads).await?;
        if !self.filled {
            self.oldest_first().await?;
        }
        self.begin_refill();
        loop {
            self.absorb().await?;
            match self.turns.pop_front() {
                Some(tenant) => self.take_turn(tenant).await?,
                None => {
                    self.pipeline.settle().await?;
                    self.end_refill();
                    self.worker.at_rest();
                    if self.began.elapsed() >= self.worker.options.look_again {
                        return Err(Interruption::Due);
                    }
                    self.wait().await?;
                }
            }
        }
    }

    // Step 1.

    /// Takes in what is there, without waiting.
    async fn absorb(&mut self) -> Result<(), Interruption> {
        self.worker.heartbeat.beat();
        if self.worker.link.has_changed().unwrap_or(true) {
            return Err(Interruption::Disconnected);
        }
        loop {
            match self.worker.notices.try_recv() {
                Ok(notice) => self.take_notice(notice),
                Err(TryRecvError::Lagged(_)) => self.worker.heads.scan_now(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if let Some(heads) = self.worker.heads.next().now_or_never() {
            self.take_heads(&heads).await?;
        }
        if self.checked.elapsed() >= CHECK_INTERVAL {
            self.check().await?;
        }
        Ok(())
    }

    /// Waits for a wake-up. The heads are scanned all the time, so this never waits long.
    async fn wait(&mut self) -> Result<(), Interruption> {
        let Worker {
            notices,
            hints,
            heads,
            link,
            ..
        } = &mut *self.worker;
        tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => {
                    self.take_notice(notice);
                    tokio::time::sleep(GATHER).await;
                }
                Err(RecvError::Lagged(_)) => self.worker.heads.scan_now(),
                // The sequencer is gone, and with it all commits of this process: others' are found by scans.
                Err(RecvError::Closed) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = hints.next() => self.worker.heads.scan_now(),
            heads = heads.next() => self.take_heads(&heads).await?,
            _ = link.changed() => return Err(Interruption::Disconnected),
            // With Postgres away there are no scans: the loop turns all the same.
            () = tokio::time::sleep(TURN) => {}
        }
        Ok(())
    }

    fn take_notice(&mut self, notice: Committed) {
        if let Some(target) = self.targets.get_mut(&notice.tenant) {
            if *target < notice.position {
                *target = notice.position;
                self.take_place(notice.tenant);
            }
        } else if self.worker.is_news(notice.tenant) {
            self.worker.heads.scan_now();
        }
    }

    async fn take_heads(&mut self, heads: &Heads) -> Result<(), Interruption> {
        let partition = self.worker.partition;
        let ours = heads
            .by_tenant
            .values()
            .filter(|head| head.partition == partition);
        for head in ours {
            let tenant = head.tenant;
            if head.quarantine_reason.is_some() {
                self.quarantined.insert(tenant);
                self.targets.remove(&tenant);
                continue;
            }
            if self.quarantined.contains(&tenant) {
                return Err(Interruption::Released(tenant));
            }
            let cursor = self.cursor(tenant).await?.position;
            if head.head.position < cursor {
                self.look_again(tenant, cursor).await?;
                continue;
            }
            let target = self.targets.entry(tenant).or_default();
            *target = (*target).max(head.head.position);
            if cursor < *target {
                self.take_place(tenant);
            }
        }
        self.report();
        Ok(())
    }

    /// A scan may have begun before a commit whose notice was faster; one that begins now may not show less.
    async fn look_again(&mut self, tenant: TenantId, cursor: Position) -> Result<(), Interruption> {
        let heads = self.worker.heads.fresh().await;
        let head = heads.by_tenant.get(&tenant).map(|head| head.head.position);
        if head.is_some_and(|head| head >= cursor) {
            Ok(())
        } else {
            Err(Interruption::Behind(tenant))
        }
    }

    /// Where a tenant stands; for one that the stream does not hold, after what it has discarded.
    async fn cursor(&mut self, tenant: TenantId) -> Result<TenantCursor, Interruption> {
        if let Some(cursor) = self.cursors.get(&tenant) {
            return Ok(*cursor);
        }
        let mut cursor = TenantCursor {
            position: Position::ZERO,
            hash: EventHash::ZERO,
        };
        let log = &self.worker.log;
        let position = self.stream.published(log, tenant).await?;
        if position > Position::ZERO {
            let hashes = log.hashes_at(&[(tenant, position)]).await?;
            if let Some(hash) = hashes.get(&(tenant, position)) {
                cursor = TenantCursor {
                    position,
                    hash: *hash,
                };
            }
        }
        self.cursors.insert(tenant, cursor);
        Ok(cursor)
    }

    // Step 2.

    fn take_place(&mut self, tenant: TenantId) {
        if !self.turns.contains(&tenant) {
            self.turns.push_back(tenant);
        }
    }

    /// Lets the tenant whose next event was recorded first begin. An empty stream's first message tells what is missing
    /// from what was discarded, should this session end before all have had their first turn.
    async fn oldest_first(&mut self) -> Result<(), Interruption> {
        let mut next = Vec::with_capacity(self.turns.len());
        for tenant in &self.turns {
            let sent = self
                .cursors
                .get(tenant)
                .map_or(Position::ZERO, |end| end.position);
            next.push((*tenant, sent.next()));
        }
        let recorded = self.worker.log.recorded_at(&next).await?;
        let oldest = recorded.iter().min_by_key(|(_, recorded_at)| **recorded_at);
        let place = oldest.and_then(|(oldest, _)| self.turns.iter().position(|tenant| *tenant == oldest.0));
        if let Some(tenant) = place.and_then(|place| self.turns.remove(place)) {
            self.turns.push_front(tenant);
        }
        Ok(())
    }

    async fn take_turn(&mut self, tenant: TenantId) -> Result<(), Interruption> {
        // Quarantined meanwhile: it has no target any more.
        let Some(target) = self.targets.get(&tenant).copied() else {
            return Ok(());
        };
        let cursor = self.cursor(tenant).await?;
        if cursor.position >= target {
            return Ok(());
        }
        let page = self.read_page(tenant, cursor, target).await?;
        fail::fail_point!("relay.before_publish");
        self.publish_page(tenant, page).await?;
        if self.cursor(tenant).await?.position < target {
            self.turns.push_back(tenant);
        }
        Ok(())
    }

    // Step 3.

    async fn read_page(
        &mut self,
        tenant: TenantId,
        cursor: TenantCursor,
        target: Position,
    ) -> Result<Vec<StoredEvent>, Interruption> {
        let anchored = cursor.position > Position::ZERO;
        let after = Position(cursor.position.0.saturating_sub(1));
        let limit = self.worker.options.page_events + u32::from(anchored);
        let mut page = self.worker.log.page(tenant, after, target, limit).await?;
        if anchored {
            let anchor = page
                .first()
                .filter(|event| event.recorded.position == cursor.position);
            let ledger = anchor.map(|event| event.recorded.hash);
            if ledger != Some(cursor.hash) {
                let finding = Finding::Differs {
                    position: cursor.position,
                    stream: cursor.hash,
                    ledger,
                };
                return Err(Interruption::Diverged(tenant, finding));
            }
            page.remove(0);
        }
        match message::first_missing(&page, cursor.position) {
            None => Ok(page),
            Some(position) => Err(Interruption::Diverged(tenant, Finding::Hole { position })),
        }
    }

    // Step 4.

    async fn publish_page(&mut self, tenant: TenantId, page: Vec<StoredEvent>) -> Result<(), Interruption> {
        let half = page.len() / 2;
        for (index, event) in page.into_iter().enumerate() {
            if index == half {
                fail::fail_point!("relay.mid_publish");
            }
            let (position, hash) = (event.recorded.position, event.recorded.hash);
            let subject = message::subject(self.worker.backbone.prefix(), self.worker.partition, &event);
            let again = self.worker.is_remembered(tenant, position);
            self.pipeline.publish(subject, event, again).await?;
            self.cursors.insert(tenant, TenantCursor { position, hash });
            self.filled = true;
            self.worker.note_published();
        }
        Ok(())
    }

    // Reports.

    async fn check(&mut self) -> Result<(), Interruption> {
        self.checked = Instant::now();
        self.worker.check_lead().await?;
        if self.filled && self.pipeline.is_empty() && self.worker.is_stream_empty().await {
            return Err(Interruption::Emptied);
        }
        let lag = self.lag();
        if let Some(refill) = self.refill.as_mut() {
            let sent = refill.events.saturating_sub(lag);
            let rate = sent as f64 / refill.began.elapsed().as_secs_f64();
            refill.told = Instant::now();
            tracing::info!(
                partition = self.worker.partition,
                sent,
                remaining = lag,
                events_per_second = rate.round(),
                "refilling the stream"
            );
        }
        Ok(())
    }

    fn lag(&self) -> u64 {
        let behind = |(tenant, target): (&TenantId, &Position)| {
            let sent = self.cursors.get(tenant).map_or(0, |cursor| cursor.position.0);
            target.0.saturating_sub(sent)
        };
        self.targets.iter().map(behind).sum::<u64>() + self.pipeline.len() as u64
    }

    fn report(&self) {
        self.worker.report_lag(self.lag());
    }

    fn begin_refill(&mut self) {
        let events = self.lag();
        if events > self.worker.options.window as u64 {
            tracing::info!(
                partition = self.worker.partition,
                events,
                "the stream lacks events; refilling it"
            );
            metrics::counter!("counterfoil_relay_refills_total").increment(1);
            let now = Instant::now();
            self.refill = Some(Refill {
                began: now,
                told: now,
                events,
            });
        }
    }

    fn end_refill(&mut self) {
        self.report();
        let Some(refill) = self.refill.take() else { return };
        let seconds = refill.began.elapsed().as_secs_f64();
        let rate = refill.events as f64 / seconds;
        metrics::histogram!("counterfoil_relay_refill_events_per_second").record(rate);
        tracing::info!(
            partition = self.worker.partition,
            events = refill.events,
            seconds,
            events_per_second = rate.round(),
            "the stream is refilled"
        );
    }
}
