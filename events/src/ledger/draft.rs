//! A batch with those who wait for it: requests placed on a head, not yet written.

use std::sync::Arc;

use crate::ids::TenantId;
use crate::ledger::place::{Head, PlacedBatch, PlacedEvent};
use crate::ledger::request::{AppendError, AppendRequest, Appended};
use crate::ledger::waiting::Waiting;
use crate::signature::Signer;
use crate::timestamp::Timestamp;

/// Requests, and what they became on `batch.before`.
pub(super) struct Draft {
    pub(super) batch: PlacedBatch,
    requests: Vec<Placed>,
    signer: Arc<dyn Signer>,
}

struct Placed {
    waiting: Waiting,
    /// Where its events begin in the batch.
    start: usize,
}

impl Draft {
    pub(super) fn open(tenant: TenantId, before: Head, signer: Arc<dyn Signer>) -> Self {
        let key_id = signer.public_key().id();
        Self {
            batch: PlacedBatch::open(tenant, before, key_id),
            requests: Vec::new(),
            signer,
        }
    }

    /// Places a request; one that is too large is answered at once, since nothing will be written of it.
    pub(super) fn add(&mut self, waiting: Waiting, now: Timestamp) {
        match self.batch.add(self.signer.as_ref(), now, &waiting.request) {
            Ok(start) => self.requests.push(Placed { waiting, start }),
            Err(error) => waiting.answer(Err(error.into())),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Its requests in order, each with its events.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&AppendRequest, &[PlacedEvent])> {
        let ends = self.requests.iter().skip(1).map(|placed| placed.start);
        let ends = ends.chain(std::iter::once(self.batch.events.len()));
        let requests = self.requests.iter().zip(ends);
        requests.map(|(placed, end)| (&placed.waiting.request, &self.batch.events[placed.start..end]))
    }

    /// Those who wait, for whom it is as if nothing had been placed.
    pub(super) fn into_waiting(self) -> Vec<Waiting> {
        self.requests.into_iter().map(|placed| placed.waiting).collect()
    }

    /// It is durable: everyone gets receipts.
    pub(super) fn answer_written(self) {
        let mut events = self.batch.events.into_iter();
        let starts: Vec<usize> = self.requests.iter().map(|placed| placed.start).collect();
        for (index, placed) in self.requests.into_iter().enumerate() {
            let end = starts.get(index + 1).copied();
            let count = end.map_or(usize::MAX, |end| end - placed.start);
            let receipts = events.by_ref().take(count).map(|event| event.receipt).collect();
            placed.waiting.answer(Ok(Appended {
                receipts,
                replayed: false,
            }));
        }
    }

    /// It is not written, and will not be.
    pub(super) fn answer_all(self, error: &AppendError) {
        for waiting in self.into_waiting() {
            waiting.answer(Err(error.clone()));
        }
    }

    /// What became of it is not known; the batch is left, to find out.
    pub(super) fn answer_unknown(self, error: &AppendError) -> PlacedBatch {
        let Self { batch, requests, .. } = self;
        for placed in requests {
            placed.waiting.answer(Err(error.clone()));
        }
        batch
    }
}
