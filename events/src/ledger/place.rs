//! Placement: requests become events with positions, hashes and signatures. Pure but for the signer.
//!
//! Steps, per event in order: 1. next position and sequence, 2. serialise the envelope on the hash before it (for
//! good: these bytes are never written again), 3. hash, 4. sign. A request with an event over the size limit is
//! left out whole and reported; the others close up.

use crate::envelope::{self, EnvelopeFields, EnvelopeTooLarge, FORMAT_VERSION, Receipt};
use crate::ids::{EventHash, EventId, KeyId, Position, Sequence, TenantId};
use crate::ledger::request::AppendRequest;
use crate::signature::Signer;
use crate::timestamp::Timestamp;

/// The end of a tenant's chain, as the sequencer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Position of the last event; zero when there is none.
    pub position: Position,
    /// Its hash.
    pub hash: EventHash,
    /// Raised by whoever shuts out a write of unknown outcome.
    pub fence: i64,
    /// Of the last event: the next one's is not earlier.
    pub recorded_at: Timestamp,
}

/// One event's columns.
#[derive(Debug)]
pub struct PlacedEvent {
    pub(super) event_id: EventId,
    pub(super) aggregate: String,
    pub(super) aggregate_id: String,
    pub(super) sequence: Sequence,
    pub(super) event_type: String,
    pub(super) version: String,
    pub(super) envelope: String,
    pub(super) receipt: Receipt,
}

/// What a request became.
#[derive(Debug)]
pub struct PlacedRequest {
    /// Its index among the requests that were handed in.
    pub(super) item: usize,
    pub(super) first_position: Position,
    /// Its events, as a range of [`PlacedBatch::events`].
    pub(super) events: std::ops::Range<usize>,
}

/// A batch ready to be written on `before`.
#[derive(Debug)]
pub struct PlacedBatch {
    pub(super) tenant: TenantId,
    pub(super) key_id: KeyId,
    pub(super) before: Head,
    pub(super) after: Head,
    pub(super) requests: Vec<PlacedRequest>,
    pub(super) events: Vec<PlacedEvent>,
    /// Requests that were left out, with the reason.
    pub(super) too_large: Vec<(usize, EnvelopeTooLarge)>,
}

impl PlacedBatch {
    /// The receipts of one of its requests.
    pub(super) fn receipts(&self, request: &PlacedRequest) -> Vec<Receipt> {
        self.events[request.events.clone()]
            .iter()
            .map(|event| event.receipt.clone())
            .collect()
    }

    /// Envelopes with hash and signature, in position order.
    pub fn envelopes(&self) -> impl Iterator<Item = (&str, &Receipt)> {
        self.events
            .iter()
            .map(|event| (event.envelope.as_str(), &event.receipt))
    }
}

/// Places `requests` (all of one tenant) on `before`.
pub fn place(
    tenant: TenantId,
    before: Head,
    now: Timestamp,
    signer: &dyn Signer,
    requests: &[&AppendRequest],
) -> PlacedBatch {
    let mut batch = PlacedBatch {
        tenant,
        key_id: signer.public_key().id(),
        before,
        after: Head {
            recorded_at: now.max(before.recorded_at),
            ..before
        },
        requests: Vec::with_capacity(requests.len()),
        events: Vec::with_capacity(requests.len()),
        too_large: Vec::new(),
    };
    for (item, request) in requests.iter().enumerate() {
        match place_request(&batch, signer, request) {
            Ok(events) => batch.take(item, events),
            Err(error) => batch.too_large.push((item, error)),
        }
    }
    if batch.events.is_empty() {
        batch.after = batch.before;
    }
    batch
}

impl PlacedBatch {
    fn take(&mut self, item: usize, events: Vec<PlacedEvent>) {
        let start = self.events.len();
        let first_position = self.after.position.next();
        if let Some(last) = events.last() {
            self.after.position = last.receipt.position;
            self.after.hash = last.receipt.hash;
        }
        self.events.extend(events);
        self.requests.push(PlacedRequest {
            item,
            first_position,
            events: start..self.events.len(),
        });
    }
}

fn place_request(
    batch: &PlacedBatch,
    signer: &dyn Signer,
    request: &AppendRequest,
) -> Result<Vec<PlacedEvent>, EnvelopeTooLarge> {
    let (mut position, mut prev) = (batch.after.position, batch.after.hash);
    let mut placed = Vec::with_capacity(request.event_count());
    for part in &request.parts {
        let mut sequence = part.expected;
        for event in &part.events {
            position = position.next();
            sequence = sequence.next();
            let event_id = EventId::generate();
            let envelope = EnvelopeFields {
                v: FORMAT_VERSION,
                tenant: batch.tenant,
                position,
                event_id,
                aggregate: &part.aggregate,
                aggregate_id: &part.aggregate_id,
                sequence,
                event_type: &event.event_type,
                version: &event.version,
                recorded_at: batch.after.recorded_at,
                actor: &request.actor,
                request_id: &request.request_id,
                traceparent: request.traceparent.as_deref(),
                causation: request.causation,
                prev,
                payload: &event.payload,
            }
            .serialise()?;
            let hash = envelope::hash(envelope.as_bytes());
            prev = hash;
            fail::fail_point!("ledger.before_sign");
            let signature = signer.sign(&hash);
            let receipt = Receipt {
                tenant: batch.tenant,
                position,
                event_id,
                hash,
                key_id: batch.key_id,
                signature,
            };
            placed.push(PlacedEvent {
                event_id,
                aggregate: part.aggregate.clone().into_owned(),
                aggregate_id: part.aggregate_id.clone(),
                sequence,
                event_type: event.event_type.clone().into_owned(),
                version: event.version.clone().into_owned(),
                envelope,
                receipt,
            });
        }
    }
    Ok(placed)
}
