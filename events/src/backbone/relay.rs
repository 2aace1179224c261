//! The relay: publishes one partition's events to its stream, in order, exactly once, whatever happens to the stream.
//!
//! 1. Wait for NATS; make sure of the stream; *derive* the cursor; *compare* it with the ledger, delete what
//!    is forged, and quarantine what disagrees (`/ready` shows `unverified` until this was done once, and it is done again after each reconnection).
//! 2. Wait to lead: an advisory lock, as a hint. The fence is in every publish (`pipeline`).
//! 3. Publish (`session`) until an answer is not the predicted one, the connection is lost, or Postgres is away; then
//!    go back to 1.
//!
//! Nothing that the relay knows outlives a session: the stream may be lost, rewound or made anew at any time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use tokio::sync::{broadcast, watch};

use crate::backbone::backoff::Backoff;
use crate::backbone::compare::{Finding, compare};
use crate::backbone::connection::{Backbone, BackboneError, Link, is_absent, up};
use crate::backbone::cursor::{StreamCursor, derive};
use crate::backbone::genuine::Judge;
use crate::backbone::heads::{Heads, HeadsReader};
use crate::backbone::leader::Lead;
use crate::backbone::message;
use crate::backbone::pipeline::Broken;
use crate::backbone::session::{Interruption, Session};
use crate::backbone::status::{BackboneStatus, HeadState};
use crate::background::{Background, Heartbeat};
use crate::ids::{Position, TenantId};
use crate::ledger::{Committed, Database, LogReader};

/// How the relay works.
#[derive(Debug, Clone, Copy)]
pub struct RelayOptions {
    /// Messages under way at most. At a millisecond per round trip this allows a million a second.
    pub window: usize,
    /// Events read at once per tenant. Worst case 16 MiB, usually 200 KiB.
    pub page_events: u32,
    /// Whether to lead only while holding the advisory lock. Off, two relays on one partition are still safe.
    pub leader_hint: bool,
    /// How often a relay with nothing to publish derives its cursor again, though nothing has told it to: messages
    /// that somebody deleted from the stream's end are published again, and a ledger that was changed is noticed.
    pub look_again: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            window: 1024,
            page_events: 256,
            leader_hint: true,
            look_again: Duration::from_secs(30),
        }
    }
}

/// What a relay works with.
pub struct RelayParts {
    /// Where it publishes.
    pub backbone: Backbone,
    /// What it publishes from.
    pub database: Database,
    /// Scans of the heads.
    pub heads: HeadsReader,
    /// Commits of this process.
    pub notices: broadcast::Receiver<Committed>,
    /// Where it tells how it stands.
    pub status: BackboneStatus,
}

/// Starts to relay `partition`. It may be stopped at any moment: what is not published yet is by the next one.
pub fn relay(partition: u32, parts: RelayParts, options: RelayOptions) -> Background {
    Background::start(&format!("relay-{partition}"), |heartbeat| {
        parts.status.register(partition, heartbeat.clone());
        run(partition, parts, options, heartbeat)
    })
}

/// Why the relay starts over after a pause.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    #[error("Postgres: {0}")]
    Database(#[from] sqlx::Error),
    #[error(
        "the stream of partition {0} is full of forged messages: find out who else may publish to it, then run \
         `counterfoil audit reconcile --repair`"
    )]
    Forgeries(u32),
}

/// Each finds one forged message of each tenant.
const FORGERY_ROUNDS: u32 = 100;

/// Messages that are gone from the stream, and that the server still takes for duplicates.
struct Remembered {
    /// The one that was answered so.
    from: Position,
    /// What was committed by then; nothing later can have been published before.
    until: Position,
}

/// What lives longer than a session.
pub(super) struct Worker {
    pub(super) partition: u32,
    pub(super) backbone: Backbone,
    pub(super) log: LogReader,
    pub(super) heads: HeadsReader,
    pub(super) notices: broadcast::Receiver<Committed>,
    pub(super) hints: async_nats::Subscriber,
    pub(super) link: watch::Receiver<Link>,
    pub(super) heartbeat: Heartbeat,
    pub(super) options: RelayOptions,
    database: Database,
    status: BackboneStatus,
    lead: Option<Lead>,
    remembered: HashMap<TenantId, Remembered>,
    backoff: Backoff,
    published: u64,
}

async fn run(partition: u32, parts: RelayParts, options: RelayOptions, heartbeat: Heartbeat) {
    let hints = loop {
        heartbeat.beat();
        // Fails only while the client's queue is full, which it is not at a start.
        match parts
            .backbone
            .client()
            .subscribe(parts.backbone.prefix().wake(partition))
            .await
        {
            Ok(hints) => break hints,
            Err(error) => tracing::warn!(%error, "wake-up hints cannot be subscribed to"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let mut worker = Worker {
        partition,
        log: LogReader::new(parts.database.log().clone()),
        link: parts.backbone.link(),
        backbone: parts.backbone,
        heads: parts.heads,
        notices: parts.notices,
        hints,
        heartbeat,
        options,
        database: parts.database,
        status: parts.status,
        lead: None,
        remembered: HashMap::new(),
        backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
        published: 0,
    };
    loop {
        let Err(error) = worker.turn().await else { continue };
        tracing::warn!(partition, %error, "the relay starts over");
        if !worker.link.borrow().up {
            worker.disconnected();
        }
        worker.status.update(partition, |status| {
            status.problem = Some(error.to_string());
            status.leading = false;
        });
        worker.lead = None;
        worker.backoff.pause().await;
    }
}

impl Worker {
    /// Steps 1 to 3, once.
    async fn turn(&mut self) -> Result<(), RelayError> {
        let (mut stream, mut heads) = self.verify().await?;
        if self.options.leader_hint && self.lead.is_none() {
            let mut link = self.link.clone();
            let lead = tokio::select! {
                lead = self.wait_to_lead() => lead?,
                _ = link.changed() => {
                    // A stand-by says the same of the stream as whoever leads.
                    self.disconnected();
                    return Ok(());
                }
            };
            self.lead = Some(lead);
            // Whoever led until now has published meanwhile.
            (stream, heads) = self.verify().await?;
        }
        self.status.update(self.partition, |status| {
            status.leading = true;
            status.problem = None;
        });
        let interruption = Session::new(self, stream).run(heads).await;
        self.handle(interruption).await
    }

    /// Step 1.
    async fn verify(&mut self) -> Result<(StreamCursor, Arc<Heads>), RelayError> {
        let beat = self.heartbeat.clone();
        beat.during(up(&mut self.link)).await;
        let stream = self.backbone.ensure_stream(self.partition).await?;
        let (cursor, findings) = self.compared(&stream).await?;
        for (tenant, finding) in &findings {
            self.quarantine(*tenant, *finding).await?;
        }
        // A message that the stream holds was a duplicate in truth: another relay published it.
        let is_gone =
            |tenant: &TenantId, from| cursor.tenants.get(tenant).is_none_or(|end| end.position < from);
        self.remembered
            .retain(|tenant, remembered| is_gone(tenant, remembered.from));
        self.status.update(self.partition, |status| {
            status.head = HeadState::Verified;
            status.findings = findings.into_iter().collect();
        });
        // Once more, if that put a tenant into quarantine: the session goes by what the heads say.
        Ok((cursor, beat.during(self.heads.fresh()).await))
    }

    /// The cursor and what of it does not fit the ledger, when no message at the stream's ends is forged any more.
    async fn compared(
        &mut self,
        stream: &Stream,
    ) -> Result<(StreamCursor, HashMap<TenantId, Finding>), RelayError> {
        for _ in 0..FORGERY_ROUNDS {
            let cursor = derive(&self.backbone, stream).await?;
            // After the cursor: whatever the stream holds was committed before it was published.
            let heads = self.heartbeat.during(self.heads.fresh()).await;
            let ends: Vec<(TenantId, Position)> = cursor
                .tenants
                .iter()
                .map(|(tenant, cursor)| (*tenant, cursor.position))
                .collect();
            let hashes = self.log.hashes_at(&ends).await?;
            let findings = compare(&cursor.tenants, &heads, &hashes);
            if !self.delete_forged(stream, &cursor, &findings).await? {
                return Ok((cursor, findings));
            }
        }
        Err(RelayError::Forgeries(self.partition))
    }

    /// Deletes the messages behind `findings`, and those at the ends of subjects that are no events at all, unless
    /// somebody with a signing key made them; whether there were any. They would stop a tenant, and hide the last true
    /// message of their subject.
    async fn delete_forged(
        &self,
        stream: &Stream,
        cursor: &StreamCursor,
        findings: &HashMap<TenantId, Finding>,
    ) -> Result<bool, RelayError> {
        let of_findings = findings.keys().filter_map(|tenant| cursor.places.get(tenant));
        let places: Vec<u64> = of_findings.chain(&cursor.foreign).copied().collect();
        if places.is_empty() {
            return Ok(false);
        }
        let mut judge = Judge::new(&self.log).await?;
        let mut any = false;
        for place in places {
            any |= self.delete_if_forged(stream, place, &mut judge).await?;
        }
        Ok(any)
    }

    async fn delete_if_forged(
        &self,
        stream: &Stream,
        place: u64,
        judge: &mut Judge,
    ) -> Result<bool, RelayError> {
        let message = stream.get_raw_message(place).await.map_err(BackboneError::nats)?;
        let (prefix, headers) = (self.backbone.prefix(), Some(&message.headers));
        let event = message::decode(prefix, &message.subject, headers, &message.payload);
        if judge.is_genuine(&self.backbone, &event).await? {
            return Ok(false);
        }
        let (subject, position) = (message.subject.as_str(), event.ok().map(|event| event.position.0));
        tracing::error!(
            subject,
            position,
            sequence = place,
            "a message in the stream is forged or damaged: no known key signed it for this place; it is deleted. \
             Find out who else may publish to this stream"
        );
        metrics::counter!("counterfoil_relay_forged_messages_total").increment(1);
        stream.delete_message(place).await.map_err(BackboneError::nats)?;
        Ok(true)
    }

    async fn quarantine(&self, tenant: TenantId, finding: Finding) -> Result<(), sqlx::Error> {
        tracing::error!(%tenant, %finding, "the copies of a tenant disagree; it takes no appends until they are reconciled");
        self.log.set_quarantine(tenant, Some(&finding.to_string())).await
    }

    /// Step 2.
    async fn wait_to_lead(&self) -> Result<Lead, sqlx::Error> {
        let beat = || self.heartbeat.beat();
        Lead::acquire(self.database.log(), self.partition, beat).await
    }

    /// What the stream holds is not known any more, and nothing is published to it.
    fn disconnected(&self) {
        self.status.update(self.partition, |status| {
            status.head = HeadState::Unverified;
            status.leading = false;
        });
    }

    pub(super) async fn check_lead(&mut self) -> Result<(), sqlx::Error> {
        match self.lead.as_mut() {
            Some(lead) => lead.still_held().await,
            None => Ok(()),
        }
    }

    /// Whether the stream holds nothing, or is not there. Not when NATS does not answer: that is noticed elsewhere.
    pub(super) async fn is_stream_empty(&self) -> bool {
        let name = self.backbone.prefix().stream(self.partition);
        match self.backbone.context().get_stream(name).await {
            Ok(stream) => stream.cached_info().state.messages == 0,
            Err(error) => is_absent(&error.kind()),
        }
    }

    /// After step 3.
    async fn handle(&mut self, interruption: Interruption) -> Result<(), RelayError> {
        if matches!(interruption, Interruption::Due) {
            return Ok(());
        }
        tracing::info!(partition = self.partition, reason = %interruption, "deriving the cursor again");
        metrics::counter!("counterfoil_relay_rederived_total").increment(1);
        match interruption {
            Interruption::Database(error) => return Err(error.into()),
            Interruption::Disconnected => self.disconnected(),
            Interruption::Diverged(tenant, finding) => self.quarantine(tenant, finding).await?,
            Interruption::Broken(Broken::Duplicate { tenant, position }) => {
                let head = self.log.head(tenant).await?;
                let until = head.map_or(position, |head| head.head.position);
                self.remembered.insert(
                    tenant,
                    Remembered {
                        from: position,
                        until,
                    },
                );
            }
            _ => {}
        }
        self.backoff.pause().await;
        Ok(())
    }

    /// Whether the server may take this message for a duplicate although it is gone.
    pub(super) fn is_remembered(&self, tenant: TenantId, position: Position) -> bool {
        self.remembered
            .get(&tenant)
            .is_some_and(|remembered| position <= remembered.until)
    }

    /// Whether a tenant is unknown to the latest scan.
    pub(super) fn is_news(&self, tenant: TenantId) -> bool {
        self.heads
            .latest()
            .is_none_or(|heads| !heads.by_tenant.contains_key(&tenant))
    }

    pub(super) fn note_published(&mut self) {
        self.published += 1;
    }

    /// All is published and acknowledged.
    pub(super) fn at_rest(&mut self) {
        self.backoff.reset();
    }

    pub(super) fn report_lag(&self, lag_events: u64) {
        let partition = self.partition.to_string();
        metrics::gauge!("counterfoil_relay_lag_events", "partition" => partition).set(lag_events as f64);
        self.status.update(self.partition, |status| {
            status.lag_events = lag_events;
            status.published_events = self.published;
        });
    }
}
