//! The requests that wait on a lane, in the order in which they came, and which of them may go into the batch that is
//! in the making while another is written. Pure: it knows neither clock nor database.
//!
//! Within a batch the first request on an aggregate or key wins; the others keep their places for a later one. So does
//! whoever asks for what the batch that is being written holds: what became of that is not known yet. A rotation of the
//! signing key is the last of its batch.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;

use cqrs_es::Aggregate;
use tokio::sync::oneshot;

use crate::ids::Sequence;
use crate::keyring::SigningKeys;
use crate::ledger::places::Place;
use crate::ledger::request::{AppendError, AppendRequest, Appended};

/// A request with whoever waits for it.
pub(super) struct Waiting {
    pub(super) request: AppendRequest,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// Its place among its tenant's requests, until it is answered.
    pub(super) place: Option<Place>,
}

impl Waiting {
    pub(super) fn answer(self, result: Result<Appended, AppendError>) {
        // Whoever asked may have gone; what is durable stays so.
        let _ = self.answer.send(result);
    }
}

/// How much goes into one batch. A single request may be larger.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// The requests that wait.
#[derive(Default)]
pub(super) struct WaitingRoom {
    /// Not looked at for the batch in the making.
    requests: VecDeque<Waiting>,
    /// Looked at: they are for a batch after it.
    passed_over: VecDeque<Waiting>,
    /// Requests to choose one by one, after a batch that Postgres refused: so that only the culprit fails.
    singly: usize,
    making: Making,
    /// What the batch that is being written holds.
    writing: HashSet<Name>,
    hasher: RandomState,
}

/// The batch in the making, as far as it decides who may still join.
#[derive(Default)]
struct Making {
    events: usize,
    bytes: usize,
    /// What it holds.
    held: HashSet<Name>,
    /// What those hold who were passed over: who came later on the same waits behind them.
    awaited: HashSet<Name>,
    full: bool,
}

/// The hash of an aggregate's name or of an Idempotency-Key. Two that share one wait for each other in vain, once.
type Name = u64;

impl WaitingRoom {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.passed_over.is_empty()
    }

    pub(super) fn enter(&mut self, waiting: Waiting) {
        self.requests.push_back(waiting);
    }

    /// Those of a batch that was not written come first again, as they were.
    pub(super) fn put_back(&mut self, batch: Vec<Waiting>) {
        for waiting in batch.into_iter().rev() {
            self.requests.push_front(waiting);
        }
    }

    /// The same, to be tried one by one.
    pub(super) fn put_back_singly(&mut self, batch: Vec<Waiting>) {
        self.singly = batch.len();
        self.put_back(batch);
    }

    /// Everyone leaves.
    pub(super) fn leave(&mut self) -> impl Iterator<Item = Waiting> {
        self.passed_over.drain(..).chain(self.requests.drain(..))
    }

    /// The batch in the making goes off to be written, and another begins.
    pub(super) fn send_off(&mut self) {
        self.writing = std::mem::take(&mut self.making.held);
        self.begin();
    }

    /// What was being written is written: nobody who comes has to wait for it.
    pub(super) fn known(&mut self) {
        self.writing.clear();
    }

    /// What was placed so far is void, and what was written is known: begins anew.
    pub(super) fn start_over(&mut self) {
        self.writing.clear();
        self.begin();
    }

    fn begin(&mut self) {
        self.making = Making::default();
        let passed_over = std::mem::take(&mut self.passed_over);
        self.put_back(passed_over.into());
    }

    /// The next request for the batch in the making, if there is one and the batch has room for it; a single request may
    /// be larger than a batch.
    pub(super) fn next(&mut self, limits: BatchLimits) -> Option<Waiting> {
        while !self.making.full {
            let request = &self.requests.front()?.request;
            let (events, bytes) = (request.event_count(), request.weight());
            let names = names(&self.hasher, request);
            let is_free = names.iter().all(|name| {
                [&self.making.held, &self.making.awaited, &self.writing]
                    .iter()
                    .all(|held| !held.contains(name))
            });
            if !is_free {
                self.making.awaited.extend(names);
                self.passed_over.extend(self.requests.pop_front());
                continue;
            }
            if !self.making.has_room(events, bytes, limits) {
                self.making.full = true;
                break;
            }
            self.making.take(names, events, bytes);
            self.making.full |= ends_its_batch(request);
            if self.singly > 0 {
                self.singly -= 1;
                self.making.full = true;
            }
            return self.requests.pop_front();
        }
        None
    }

    /// Answers those who wait on an aggregate that `written` just moved: they would be refused anyway. A request with
    /// a key stays, since its key may have been used, and the database knows.
    pub(super) fn refuse_overtaken<'a>(&mut self, written: impl Iterator<Item = &'a AppendRequest>) {
        if self.is_empty() {
            return;
        }
        let written = written.flat_map(|request| &request.parts);
        let moved: HashMap<(&str, &str), Sequence> = written
            .map(|part| {
                let now = Sequence(part.expected.0 + part.events.len() as u64);
                ((part.aggregate.as_ref(), part.aggregate_id.as_str()), now)
            })
            .collect();
        for queue in [&mut self.passed_over, &mut self.requests] {
            for waiting in std::mem::take(queue) {
                match overtaken(&waiting.request, &moved) {
                    Some(error) => waiting.answer(Err(error)),
                    None => queue.push_back(waiting),
                }
            }
        }
    }
}

impl Making {
    fn has_room(&self, events: usize, bytes: usize, limits: BatchLimits) -> bool {
        self.events == 0 || self.events + events <= limits.events && self.bytes + bytes <= limits.bytes
    }

    fn take(&mut self, names: Vec<Name>, events: usize, bytes: usize) {
        self.held.extend(names);
        self.events += events;
        self.bytes += bytes;
    }
}

/// Why the append function would refuse it, if an aggregate of it `moved`. One with a key may have been carried out
/// before, which only the database knows.
fn overtaken(request: &AppendRequest, moved: &HashMap<(&str, &str), Sequence>) -> Option<AppendError> {
    if request.idempotency.is_some() {
        return None;
    }
    parts(request).find_map(|(name, expected)| {
        let actual = *moved.get(&name)?;
        (actual != expected).then(|| AppendError::conflict(name.0, name.1, actual))
    })
}

/// Whether what comes after it is to be signed with another key, which a batch cannot be: a rotation ends its batch.
fn ends_its_batch(request: &AppendRequest) -> bool {
    let mut parts = request.parts.iter();
    parts.any(|part| part.aggregate == SigningKeys::TYPE)
}

/// What a request holds on to: its aggregates, and its key.
fn names(hasher: &RandomState, request: &AppendRequest) -> Vec<Name> {
    let key = request
        .idempotency
        .iter()
        .map(|claim| hasher.hash_one(claim.key_hash));
    parts(request)
        .map(|(name, _)| hasher.hash_one(name))
        .chain(key)
        .collect()
}

/// The aggregates that a request is for, each with the sequence that it expects.
fn parts(request: &AppendRequest) -> impl Iterator<Item = ((&str, &str), Sequence)> {
    request.parts.iter().map(|part| {
        let name = (part.aggregate.as_ref(), part.aggregate_id.as_str());
        (name, part.expected)
    })
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
