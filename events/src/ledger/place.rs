//! Placement: requests become events with positions, hashes and signatures. Pure but for the signer.
//!
//! A batch is opened on a head, and requests are added one by one. Steps, per event in order: 1. next position and
//! sequence, 2. serialise the envelope on the hash before it (for good: these bytes are never written again), 3. hash,
//! 4. sign. A request with an event over the size limit is not added, and leaves no trace.

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

/// What placement gives an event; its other columns are the request's.
#[derive(Debug)]
pub(super) struct PlacedEvent {
    pub(super) sequence: Sequence,
    pub(super) envelope: String,
    pub(super) receipt: Receipt,
}

/// A batch on `before`.
#[derive(Debug)]
pub(super) struct PlacedBatch {
    pub(super) tenant: TenantId,
    pub(super) key_id: KeyId,
    pub(super) before: Head,
    pub(super) after: Head,
    pub(super) events: Vec<PlacedEvent>,
}

impl PlacedBatch {
    /// An empty batch on `before`, to be signed with `key_id`.
    pub(super) fn open(tenant: TenantId, before: Head, key_id: KeyId) -> Self {
        Self {
            tenant,
            key_id,
            before,
            after: before,
            events: Vec::new(),
        }
    }

    /// Places a request (of the same tenant) behind those that are there; answers where its events begin. All events of
    /// a batch are recorded when its first is, but not before what came before them.
    ///
    /// # Errors
    /// When an event is over the size limit; the batch is as it was.
    pub(super) fn add(
        &mut self,
        signer: &dyn Signer,
        now: Timestamp,
        request: &AppendRequest,
    ) -> Result<usize, EnvelopeTooLarge> {
        let start = self.events.len();
        let mut last = self.after;
        if start == 0 {
            last.recorded_at = now.max(last.recorded_at);
        }
        match self.place(signer, request, &mut last) {
            Ok(()) => {
                self.after = last;
                Ok(start)
            }
            Err(error) => {
                self.events.truncate(start);
                Err(error)
            }
        }
    }

    fn place(
        &mut self,
        signer: &dyn Signer,
        request: &AppendRequest,
        last: &mut Head,
    ) -> Result<(), EnvelopeTooLarge> {
        for part in &request.parts {
            let mut sequence = part.expected;
            for event in &part.events {
                sequence = sequence.next();
                let position = last.position.next();
                let event_id = EventId::generate();
                let envelope = EnvelopeFields {
                    v: FORMAT_VERSION,
                    tenant: self.tenant,
                    position,
                    event_id,
                    aggregate: &part.aggregate,
                    aggregate_id: &part.aggregate_id,
                    sequence,
                    event_type: &event.event_type,
                    version: &event.version,
                    recorded_at: last.recorded_at,
                    actor: &request.actor,
                    request_id: &request.request_id,
                    traceparent: request.traceparent.as_deref(),
                    causation: request.causation,
                    prev: last.hash,
                    payload: &event.payload,
                }
                .serialise()?;
                let hash = envelope::hash(envelope.as_bytes());
                fail::fail_point!("ledger.before_sign");
                let receipt = Receipt {
                    tenant: self.tenant,
                    position,
                    event_id,
                    hash,
                    key_id: self.key_id,
                    signature: signer.sign(&hash),
                };
                (last.position, last.hash) = (position, hash);
                self.events.push(PlacedEvent {
                    sequence,
                    envelope,
                    receipt,
                });
            }
        }
        Ok(())
    }
}
