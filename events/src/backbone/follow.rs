//! Following one partition of the log: every event after a vector of cursors, per tenant in position order, each once.
//!
//! JetStream is the fast way, Postgres the sure one. The live end of the stream (`live`) tells what is published from
//! now on; everything else is read from Postgres:
//!
//! 1. A message at the tenant's next position is delivered; at or below its cursor it is dropped; beyond it, the gap
//!    and the message are read from Postgres.
//! 2. Cursors are compared with the chain heads when following begins, whenever the live end was made anew, and every
//!    five seconds (the last message of a quiet tenant may be lost): what a scan saw and the next one still finds
//!    missing is read from Postgres. While it finds something, and while NATS is away, every scan is compared.
//!
//! Memory is bounded: nothing is read ahead of what was asked for, but one pull of messages. Giving up a wait loses
//! nothing. Where the caller stands is the caller's to keep, in the transaction of its effect; after a failure it makes
//! a new follower from there.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backbone::connection::Backbone;
use crate::backbone::heads::{Heads, HeadsReader};
use crate::backbone::heartbeat::Heartbeat;
use crate::backbone::live::{Live, LiveEvent};
use crate::backbone::message;
use crate::ids::{Position, TenantId};
use crate::ledger::{LogReader, StoredEvent};

/// How often cursors are compared with the heads while messages arrive.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

/// What a follower reads.
pub struct FollowerParts {
    /// The fast way.
    pub backbone: Backbone,
    /// The sure way.
    pub log: LogReader,
    /// Scans of the heads.
    pub heads: HeadsReader,
}

/// Follows one partition. See the module.
pub struct Follower {
    log: LogReader,
    heads: HeadsReader,
    live: Live,
    partition: u32,
    prefix: crate::backbone::StreamPrefix,
    cursors: HashMap<TenantId, Position>,
    /// Tenants to read from Postgres, and up to where.
    behind: VecDeque<(TenantId, Position)>,
    /// In order, their cursors advanced already; handed over whole.
    ready: Vec<StoredEvent>,
    /// The scan before the latest: what it saw should have arrived by now.
    before: Option<Arc<Heads>>,
    compare_at: Instant,
    /// Compare with the first scan that began after this: the live end has just been opened, or nothing was compared.
    unsure_since: Option<std::time::Instant>,
    heartbeat: Heartbeat,
}

impl Follower {
    /// Follows `partition` from `cursors` (a tenant without one from its beginning) under a `name` for logs.
    #[must_use]
    pub fn new(
        name: &str,
        partition: u32,
        parts: FollowerParts,
        cursors: HashMap<TenantId, Position>,
    ) -> Self {
        let name = format!("{name}-{partition}");
        Self {
            log: parts.log,
            heads: parts.heads,
            prefix: parts.backbone.prefix().clone(),
            heartbeat: Heartbeat::new(&name),
            live: Live::new(parts.backbone, partition, name),
            partition,
            cursors,
            behind: VecDeque::new(),
            ready: Vec::new(),
            before: None,
            compare_at: Instant::now(),
            unsure_since: Some(std::time::Instant::now()),
        }
    }

    /// The next events, at least one and at most `max_events`; none when nothing came within `max_wait`.
    ///
    /// # Errors
    /// When Postgres does not answer; nothing is lost, ask again.
    pub async fn next_batch(
        &mut self,
        max_events: usize,
        max_wait: Duration,
    ) -> Result<Vec<StoredEvent>, sqlx::Error> {
        let deadline = Instant::now() + max_wait;
        while self.ready.is_empty() {
            self.heartbeat.beat();
            if self.behind.is_empty() {
                if !self.wait(deadline).await {
                    break;
                }
                self.take_what_is_here(max_events);
            } else {
                self.catch_up(max_events).await?;
            }
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// The last position delivered, per tenant.
    #[must_use]
    pub fn cursors(&self) -> &HashMap<TenantId, Position> {
        &self.cursors
    }

    /// Its heartbeat; it beats while `next_batch` waits.
    #[must_use]
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// Whether messages arrive from JetStream; otherwise Postgres is polled.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live.is_open()
    }

    /// Waits for a message or a scan; false when it is too late.
    async fn wait(&mut self, deadline: Instant) -> bool {
        tokio::select! {
            biased;
            event = self.live.next() => match event {
                LiveEvent::Message(message) => self.take_message(&message),
                LiveEvent::Opened | LiveEvent::Lost => self.unsure_since = Some(std::time::Instant::now()),
            },
            heads = self.heads.next() => self.take_heads(heads),
            () = tokio::time::sleep_until(deadline) => return false,
        }
        true
    }

    /// Messages that have arrived, until the batch is full or a gap must be read first.
    fn take_what_is_here(&mut self, max_events: usize) {
        while self.ready.len() < max_events && self.behind.is_empty() {
            let Some(message) = self.live.next_now() else {
                return;
            };
            self.take_message(&message);
        }
    }

    fn take_message(&mut self, message: &async_nats::Message) {
        let (subject, headers) = (&message.subject, message.headers.as_ref());
        let event = match message::decode(&self.prefix, subject, headers, &message.payload) {
            Ok(event) => event,
            Err(error) => {
                // What it stood for, if anything, is missed at the next comparison.
                tracing::warn!(%error, "a message in the stream is no event of ours; it is ignored");
                return;
            }
        };
        let (tenant, position) = (event.tenant, event.position);
        let cursor = self.cursors.get(&tenant).copied().unwrap_or_default();
        if position <= cursor {
            return;
        }
        match message::stored(event) {
            Some(event) if position == cursor.next() => {
                self.cursors.insert(tenant, position);
                self.ready.push(event);
            }
            // Beyond a gap, or not what its headers say: Postgres knows.
            _ => self.behind.push_back((tenant, position)),
        }
    }

    fn take_heads(&mut self, latest: Arc<Heads>) {
        let before = self.before.replace(Arc::clone(&latest));
        if let Some(since) = self.unsure_since {
            if latest.read_at >= since {
                self.unsure_since = None;
                self.compare(&latest);
            }
        } else if !self.live.is_open() {
            self.compare(&latest);
        } else if let Some(before) = before.filter(|_| self.compare_at <= Instant::now()) {
            self.compare(&before);
            if self.behind.is_empty() {
                self.compare_at = Instant::now() + COMPARE_INTERVAL;
            }
        }
    }

    fn compare(&mut self, heads: &Heads) {
        let ours = heads
            .by_tenant
            .values()
            .filter(|head| head.partition == self.partition);
        for head in ours {
            let cursor = self.cursors.get(&head.tenant).copied().unwrap_or_default();
            if cursor < head.head.position {
                self.behind.push_back((head.tenant, head.head.position));
            }
        }
    }

    /// Reads a page of the first tenant that is behind; it takes its place at the end if that was not all.
    async fn catch_up(&mut self, max_events: usize) -> Result<(), sqlx::Error> {
        let Some(&(tenant, until)) = self.behind.front() else {
            return Ok(());
        };
        let cursor = self.cursors.get(&tenant).copied().unwrap_or_default();
        if cursor >= until {
            self.behind.pop_front();
            return Ok(());
        }
        let limit = u32::try_from(max_events).unwrap_or(u32::MAX);
        let mut page = self.log.page(tenant, cursor, until, limit).await?;
        self.behind.pop_front();
        let hole = message::first_missing(&page, cursor);
        // Nothing is passed over: at a hole, or where the ledger ends before what the stream holds, the tenant's
        // events end. The relay finds that too, and quarantines the tenant.
        if let Some(missing) = hole {
            tracing::error!(%tenant, position = %missing, "the ledger lacks a position; followers stop before it");
            page.retain(|event| event.recorded.position < missing);
        }
        if let Some(last) = page.last() {
            let reached = last.recorded.position;
            self.cursors.insert(tenant, reached);
            if reached < until && hole.is_none() {
                self.behind.push_back((tenant, until));
            }
        }
        self.ready = page;
        Ok(())
    }
}
