//! Putting back into the ledger what only the stream still has of one tenant: the events after the ledger's head.
//!
//! 1. Read the tenant's messages; those at or below the head, and repetitions, are passed over.
//! 2. Verify each page as any log is verified, by one verifier that begins where the ledger ends: hash, signature by a
//!    trusted key that no other had followed, place in the chain, the aggregate's next sequence. At the first thing
//!    that is wrong or missing, stop: what lies behind a hole cannot be chained.
//! 3. Write it with the one function that may, which checks the chain again, and moves the head.
//!
//! The platform's log introduces signing keys, also among what is put back, so its key events are taken first.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::PgPool;

use crate::backbone::reconcile::ReconcileError;
use crate::backbone::reconcile::report::Restored;
use crate::backbone::{Backbone, StreamScan, message};
use crate::envelope::RecordedEvent;
use crate::ids::{DocumentDigest, Position, Sequence, TenantId};
use crate::keyring::{self, TrustedKeys};
use crate::ledger::{Head, LogReader, StoredEvent};
use crate::verify::{Entry, LogEnd, LogVerifier, Options, Unchecked, documents_of};

/// Events written at once: at worst 16 MiB.
const BATCH_EVENTS: usize = 256;

const RESTORE: &str =
    "SELECT counterfoil.restore_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// Each on the unique key over aggregate and sequence.
const SEQUENCES: &str = "SELECT want.aggregate, want.aggregate_id, coalesce(( \
                             SELECT e.sequence FROM counterfoil.events e \
                             WHERE e.tenant_id = $1 AND e.aggregate = want.aggregate AND e.aggregate_id = want.aggregate_id \
                             ORDER BY e.sequence DESC LIMIT 1), 0) \
                         FROM unnest($2::text[], $3::text[]) AS want (aggregate, aggregate_id)";

/// One tenant's restoration.
pub(super) struct Restoration<'a> {
    pub(super) backbone: &'a Backbone,
    pub(super) pool: &'a PgPool,
    pub(super) log: &'a LogReader,
    pub(super) tenant: TenantId,
    pub(super) partition: u32,
}

/// What came of a page.
struct Verified {
    events: Vec<StoredEvent>,
    stopped: Option<String>,
}

impl Restoration<'_> {
    /// Puts back what follows `head`.
    pub(super) async fn run(
        self,
        mut head: Head,
        keys: &mut Arc<TrustedKeys>,
    ) -> Result<Restored, ReconcileError> {
        if self.tenant.is_platform() {
            self.take_keys(head.position, keys).await?;
        }
        let mut restored = Restored {
            tenant: self.tenant,
            events: 0,
            head: head.position,
            missing_documents: Vec::new(),
            stopped: None,
        };
        let mut documents = BTreeSet::new();
        let mut verifier = self.verifier(&head, keys).await?;
        let mut scan = StreamScan::open(self.backbone, self.partition, Some(self.tenant)).await?;
        while restored.stopped.is_none() {
            let page = scan.next_page().await?;
            if page.is_empty() {
                break;
            }
            let events = page.into_iter().filter_map(|message| message.event.ok());
            let Verified { events, stopped } = self.verify(&mut verifier, &head, events.collect()).await?;
            for batch in events.chunks(BATCH_EVENTS) {
                self.write(&mut head, batch).await?;
                documents.extend(batch.iter().flat_map(documents_of_event));
            }
            restored.events += events.len() as u64;
            restored.stopped = stopped;
        }
        restored.head = head.position;
        restored.missing_documents = self.missing(documents).await?;
        Ok(restored)
    }

    /// Key events among what is to be put back; each is signed by the key before it.
    async fn take_keys(&self, after: Position, keys: &mut Arc<TrustedKeys>) -> Result<(), ReconcileError> {
        let mut scan = StreamScan::open(self.backbone, self.partition, Some(self.tenant)).await?;
        let mut next = after.next();
        loop {
            let page = scan.next_page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for event in page.into_iter().filter_map(|message| message.event.ok()) {
                if event.position == next {
                    next = next.next();
                    // One that is not to be believed makes what it signed stop the restoration.
                    if is_key_event(&event) {
                        let _ = Arc::make_mut(keys).introduce(&event);
                    }
                }
            }
        }
    }

    /// One that goes on from the ledger's head.
    async fn verifier(&self, head: &Head, keys: &Arc<TrustedKeys>) -> Result<LogVerifier, sqlx::Error> {
        let before = Position(head.position.0.saturating_sub(1));
        let last = self.log.page(self.tenant, before, head.position, 1).await?;
        let end = LogEnd {
            position: head.position,
            hash: head.hash,
            recorded_at: head.recorded_at,
            key: last.first().map(|event| event.recorded.key_id),
        };
        let options = Options::default();
        Ok(LogVerifier::following(
            self.tenant,
            Arc::clone(keys),
            options,
            &end,
        ))
    }

    /// Tells the verifier which sequence each aggregate of `events` has in the ledger.
    async fn know_sequences(
        &self,
        verifier: &mut LogVerifier,
        events: &[RecordedEvent],
    ) -> Result<(), sqlx::Error> {
        let named: BTreeSet<(String, String)> = events
            .iter()
            .filter_map(|event| event.parse().ok())
            .map(|envelope| {
                (
                    envelope.aggregate.into_owned(),
                    envelope.aggregate_id.into_owned(),
                )
            })
            .collect();
        let (aggregates, ids): (Vec<String>, Vec<String>) = named.into_iter().unzip();
        let rows: Vec<(String, String, i64)> = sqlx::query_as(SEQUENCES)
            .bind(self.tenant.0)
            .bind(aggregates)
            .bind(ids)
            .fetch_all(self.pool)
            .await?;
        for (aggregate, id, sequence) in rows {
            verifier.know_sequence(&aggregate, &id, Sequence::from_i64(sequence));
        }
        Ok(())
    }

    /// Step 2.
    async fn verify(
        &self,
        verifier: &mut LogVerifier,
        head: &Head,
        page: Vec<RecordedEvent>,
    ) -> Result<Verified, sqlx::Error> {
        let (mut events, mut stopped) = next_in_line(head.position.next(), page);
        self.know_sequences(verifier, &events).await?;
        let entries: Vec<Entry> = events.iter().map(entry).collect();
        verifier.verify_batch(&entries, &Unchecked);
        let kept = verifier.findings().kept();
        let wrong = kept.iter().min_by_key(|finding| finding.position);
        if let Some(finding) = wrong {
            events.retain(|event| event.position < finding.position);
            stopped = Some(finding.to_string());
        }
        Ok(Verified {
            // The verifier has read the envelopes, and found them to be of this tenant and these positions.
            events: events.into_iter().filter_map(message::stored).collect(),
            stopped,
        })
    }

    /// Step 3.
    async fn write(&self, head: &mut Head, batch: &[StoredEvent]) -> Result<(), sqlx::Error> {
        let Some(last) = batch.last() else { return Ok(()) };
        let column = |value: fn(&StoredEvent) -> &str| batch.iter().map(value).collect::<Vec<&str>>();
        sqlx::query(RESTORE)
            .bind(self.tenant.0)
            .bind(head.position.as_i64())
            .bind(head.hash.0)
            .bind(batch.iter().map(|event| event.event_id.0).collect::<Vec<_>>())
            .bind(column(|event| &event.aggregate))
            .bind(column(|event| &event.aggregate_id))
            .bind(
                batch
                    .iter()
                    .map(|event| event.sequence.as_i64())
                    .collect::<Vec<_>>(),
            )
            .bind(column(|event| &event.event_type))
            .bind(column(|event| &event.version))
            .bind(
                batch
                    .iter()
                    .map(|event| event.recorded_at.as_datetime())
                    .collect::<Vec<_>>(),
            )
            .bind(
                batch
                    .iter()
                    .map(|event| event.recorded.hash.0)
                    .collect::<Vec<_>>(),
            )
            .bind(
                batch
                    .iter()
                    .map(|event| event.recorded.key_id.0)
                    .collect::<Vec<_>>(),
            )
            .bind(
                batch
                    .iter()
                    .map(|event| event.recorded.signature.0)
                    .collect::<Vec<_>>(),
            )
            .bind(column(|event| &event.recorded.envelope))
            .execute(self.pool)
            .await?;
        head.position = last.recorded.position;
        head.hash = last.recorded.hash;
        Ok(())
    }

    /// Which of `documents` the ledger does not have.
    async fn missing(&self, documents: BTreeSet<DocumentDigest>) -> Result<Vec<DocumentDigest>, sqlx::Error> {
        let mut missing = Vec::new();
        for digest in documents {
            if self.log.document(self.tenant, digest).await?.is_none() {
                missing.push(digest);
            }
        }
        Ok(missing)
    }
}

/// The events of a page from `next` on without a gap; and why not all, where one is missing.
fn next_in_line(mut next: Position, page: Vec<RecordedEvent>) -> (Vec<RecordedEvent>, Option<String>) {
    let mut line = Vec::with_capacity(page.len());
    for event in page {
        if event.position > next {
            let before = Position(event.position.0 - 1);
            let stopped =
                format!("the stream lacks positions {next} to {before}; nothing behind them can be chained");
            return (line, Some(stopped));
        }
        if event.position == next {
            next = next.next();
            line.push(event);
        }
    }
    (line, None)
}

fn is_key_event(event: &RecordedEvent) -> bool {
    event
        .parse()
        .is_ok_and(|envelope| envelope.aggregate == keyring::AGGREGATE)
}

fn entry(event: &RecordedEvent) -> Entry {
    Entry::Event(crate::verify::StoredEvent {
        position: Some(event.position),
        envelope: event.envelope.clone(),
        hash: event.hash,
        key_id: event.key_id,
        signature: event.signature,
        columns: None,
    })
}

fn documents_of_event(event: &StoredEvent) -> Vec<DocumentDigest> {
    let Ok(envelope) = event.recorded.parse() else {
        return Vec::new();
    };
    let references = documents_of(envelope.payload.get()).unwrap_or_default();
    references.into_iter().map(|reference| reference.digest).collect()
}
