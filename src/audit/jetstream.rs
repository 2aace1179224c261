//! Verifies the copy of the logs that JetStream keeps, against itself and against Postgres's heads.
//!
//! 1. Read the heads from Postgres and wait, for a while, until the stream has what they name: the relay runs behind.
//! 2. Per log: every message in order, from the first that the stream retains, held to the rules and to the head of
//!    step 1. Equal hashes at one position mean equal bytes up to it, for each hash covers the one before.
//! 3. What the stream holds beyond Postgres's head of then is `ahead`, or `differs`.
//!
//! A prefix that the stream discarded by age or size is no loss. One that was deleted otherwise is.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use counterfoil_events::backbone::{
    Backbone, BackboneError, MessageError, ScannedMessage, StreamCursor, StreamScan, derive,
};
use counterfoil_events::ids::{EventHash, Position, TenantId};
use counterfoil_events::ledger::LogReader;
use counterfoil_events::verify::{
    Anchor, AnchorSource, Entry, FindingKind, LogVerifier, Report, StoredEvent, Unchecked,
};
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};

use super::Scope;
use super::error::AuditError;
use super::keys::Keys;
use super::logs::{Head, Log, logs};
use super::notes;
use super::summary::{Progress, Summary};

/// How long to wait for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the relay may run behind before what it has not published counts as missing.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);
const RELAY_POLL: Duration = Duration::from_millis(250);

/// Verifies logs in JetStream.
pub struct JetStreamAudit {
    pool: PgPool,
    backbone: Backbone,
    keys: Keys,
    scope: Scope,
}

/// The ends of all streams.
type Cursors = HashMap<u32, StreamCursor>;

impl JetStreamAudit {
    /// With the keys and heads from Postgres, as `counterfoil_log`.
    #[must_use]
    pub fn new(pool: PgPool, backbone: Backbone, keys: Keys, scope: Scope) -> Self {
        Self {
            pool,
            backbone,
            keys,
            scope,
        }
    }

    /// Verifies every log in scope.
    ///
    /// # Errors
    /// When Postgres or NATS do not answer, or the one tenant asked for does not exist.
    pub async fn run(&self, progress: &dyn Progress) -> Result<Summary, AuditError> {
        let mut link = self.backbone.link();
        let up = timeout(CONNECT_TIMEOUT, link.wait_for(|link| link.up)).await;
        if !matches!(up, Ok(Ok(_))) {
            return Err(BackboneError::Nats("it does not answer".to_owned()).into());
        }
        drop(up);
        let logs = logs(&self.pool, self.scope.tenant).await?;
        let cursors = self.caught_up(&logs).await?;
        progress.begin(
            logs.iter()
                .filter_map(|log| log.head)
                .map(|head| head.position.0)
                .sum(),
        );
        let mut summary = Summary::begin("jetstream", &self.keys, &self.scope);
        for log in &logs {
            // A log without a head is Postgres's trouble; what the stream holds of it is found below.
            if let Some(head) = log.head {
                summary.add(self.verify_log(log.tenant, head, &cursors, progress).await?);
            }
        }
        if self.scope.tenant.is_none() {
            for report in unknown(&logs, &cursors) {
                summary.add(report);
            }
        }
        Ok(summary.end())
    }

    /// Step 1.
    async fn caught_up(&self, logs: &[Log]) -> Result<Cursors, AuditError> {
        let limit = Instant::now() + RELAY_TIMEOUT;
        let heads = || logs.iter().filter_map(|log| Some((log.tenant, log.head?)));
        let partitions: BTreeSet<u32> = heads().map(|(_, head)| head.partition).collect();
        loop {
            let mut cursors = Cursors::new();
            for partition in &partitions {
                let name = self.backbone.prefix().stream(*partition);
                let stream = self.backbone.context().get_stream(&name).await;
                let stream =
                    stream.map_err(|error| BackboneError::Nats(format!("stream {name}: {error}")))?;
                cursors.insert(*partition, derive(&self.backbone, &stream).await?);
            }
            let has = |tenant, head: Head| {
                let cursor = &cursors[&head.partition];
                let end = cursor
                    .tenants
                    .get(&tenant)
                    .map_or(Position::ZERO, |end| end.position);
                end >= head.position || is_discarded(cursor, head)
            };
            if heads().all(|(tenant, head)| has(tenant, head)) || Instant::now() >= limit {
                return Ok(cursors);
            }
            sleep(RELAY_POLL).await;
        }
    }

    /// Step 2 for one log.
    async fn verify_log(
        &self,
        tenant: TenantId,
        head: Head,
        cursors: &Cursors,
        progress: &dyn Progress,
    ) -> Result<Report, AuditError> {
        let cursor = &cursors[&head.partition];
        let mut scan = StreamScan::open(&self.backbone, head.partition, Some(tenant)).await?;
        let mut page = scan.next_page().await?;
        let (first, prev) = self.start(tenant, head, cursor, &page).await?;
        let mut verifier = self.begin(tenant, head, cursor, (first, prev)).await?;
        while !page.is_empty() {
            let read = page.len() as u64;
            let mut entries: Vec<Entry> = page.into_iter().map(entry).collect();
            entries.retain(|entry| is_from(entry, first));
            let checking = tokio::task::spawn_blocking(move || {
                verifier.verify_batch(&entries, &Unchecked);
                verifier
            });
            let (checked, fetched) = tokio::join!(checking, scan.next_page());
            verifier = checked?;
            progress.advance(read);
            page = fetched?;
        }
        self.end(tenant, verifier.finish()).await
    }

    /// Where this log's messages have to begin, and the hash before.
    async fn start(
        &self,
        tenant: TenantId,
        head: Head,
        cursor: &StreamCursor,
        page: &[ScannedMessage],
    ) -> Result<(Position, Option<EventHash>), AuditError> {
        let asked = self.scope.from.0.max(1);
        let retained = page.iter().find_map(|message| message.event.as_ref().ok());
        let retained = match retained {
            Some(event) => event.position,
            None if is_discarded(cursor, head) => head.position.next(),
            None => Position(1),
        };
        let reader = LogReader::new(self.pool.clone());
        let discarded = match cursor.discarded_before {
            Some(before) => reader.position_as_of(tenant, before).await?,
            None => Position::ZERO,
        };
        // What is missing at the start although the stream did not discard it is a gap there.
        let first = asked.max(retained.0.min(discarded.0 + 1));
        if first == 1 {
            return Ok((Position(1), Some(EventHash::ZERO)));
        }
        let before = (tenant, Position(first - 1));
        let hashes = reader.hashes_at(&[before]).await?;
        Ok((Position(first), hashes.get(&before).copied()))
    }

    async fn begin(
        &self,
        tenant: TenantId,
        head: Head,
        cursor: &StreamCursor,
        (first, prev): (Position, Option<EventHash>),
    ) -> Result<LogVerifier, sqlx::Error> {
        let keys = self.keys.trusted.clone();
        let mut verifier = LogVerifier::starting_at(tenant, keys, self.scope.options, first, prev);
        if !is_discarded(cursor, head) && head.position.0 > 0 {
            verifier.expect(Anchor {
                source: AnchorSource::OtherCopy,
                position: head.position,
                hash: Some(head.hash),
            });
        }
        for note in notes::of_tenant(&self.scope.head_notes, tenant) {
            match notes::open(&self.keys.trusted, &mut verifier, tenant, Position::ZERO, note) {
                // The stream does not hold it (any more), and what it holds is chained on what Postgres has there.
                Some(head) if head.position < first => {
                    notes::expect_before(&self.pool, &mut verifier, &head).await?;
                }
                Some(head) => verifier.expect(notes::anchor(&head)),
                None => {}
            }
        }
        Ok(verifier)
    }

    /// Step 3.
    async fn end(&self, tenant: TenantId, mut report: Report) -> Result<Report, AuditError> {
        let Some(hash) = report.hash else {
            return Ok(report);
        };
        let last = (tenant, report.last);
        let reader = LogReader::new(self.pool.clone());
        match reader.hashes_at(&[last]).await?.get(&last) {
            Some(theirs) if *theirs == hash => {}
            Some(theirs) => {
                let detail = format!("Postgres holds {theirs}, the stream {hash}");
                report.find(last.1, FindingKind::Differs, detail);
            }
            None => {
                let head = reader
                    .head(tenant)
                    .await?
                    .map_or(Position::ZERO, |head| head.head.position);
                let detail = format!("the stream runs to position {}, Postgres ends at {head}", last.1);
                report.find(head.next(), FindingKind::Ahead, detail);
            }
        }
        Ok(report)
    }
}

/// Whether everything up to the head was recorded before what the stream retains.
fn is_discarded(cursor: &StreamCursor, head: Head) -> bool {
    cursor
        .discarded_before
        .is_some_and(|before| head.recorded_at < before)
}

fn entry(message: ScannedMessage) -> Entry {
    let (position, kind) = match &message.event {
        Ok(_) => (None, FindingKind::Malformed),
        Err(MessageError::Body { position, .. }) => (Some(*position), FindingKind::HashMismatch),
        Err(_) => (None, FindingKind::Malformed),
    };
    match message.event {
        Ok(event) => Entry::Event(StoredEvent {
            position: Some(event.position),
            envelope: event.envelope,
            hash: event.hash,
            key_id: event.key_id,
            signature: event.signature,
            columns: Some(Box::new(message.beside)),
        }),
        Err(error) => Entry::Unreadable {
            position,
            kind,
            detail: format!("stream sequence {}: {error}", message.sequence),
        },
    }
}

fn is_from(entry: &Entry, first: Position) -> bool {
    let position = match entry {
        Entry::Event(event) => event.position,
        Entry::Unreadable { position, .. } => *position,
    };
    position.is_none_or(|position| position >= first)
}

/// What the streams hold of tenants that Postgres does not know, and what is no event at all.
fn unknown(logs: &[Log], cursors: &Cursors) -> Vec<Report> {
    let known: BTreeSet<TenantId> = logs
        .iter()
        .filter(|log| log.head.is_some())
        .map(|log| log.tenant)
        .collect();
    let mut reports = Vec::new();
    for (partition, cursor) in cursors {
        for (tenant, end) in cursor
            .tenants
            .iter()
            .filter(|(tenant, _)| !known.contains(tenant))
        {
            let mut report = Report::empty(*tenant);
            let detail = format!(
                "the stream runs to position {}, Postgres has no such log",
                end.position
            );
            report.find(Position(1), FindingKind::Ahead, detail);
            reports.push(report);
        }
        if !cursor.foreign.is_empty() {
            let mut report = Report::empty(TenantId::PLATFORM);
            let detail = format!(
                "partition {partition}: {} subjects end in what is no event",
                cursor.foreign.len()
            );
            report.find(Position::ZERO, FindingKind::Malformed, detail);
            reports.push(report);
        }
    }
    reports
}
