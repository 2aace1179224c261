//! The requests that wait on a lane, in the order in which they came, and which of them may go into the batch that is
//! in the making while another is written. Pure: it knows neither clock nor database.
//!
//! Within a batch the first request on an aggregate or key wins; the others keep their places for a later one. So does
//! whoever asks for what the batch that is being written holds: what became of that is not known yet.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;

use tokio::sync::oneshot;

use crate::ids::Sequence;
use crate::ledger::request::{AppendError, AppendRequest, Appended};

/// A request with whoever waits for it.
pub(super) struct Waiting {
    pub(super) request: AppendRequest,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
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
    pub(super) fn len(&self) -> usize {
        self.requests.len() + self.passed_over.len()
    }

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
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::actor::Actor;
    use crate::ids::TenantId;
    use crate::ledger::request::{AggregateAppend, IdempotencyClaim, NewEvent};

    const ROOMY: BatchLimits = BatchLimits {
        events: 256,
        bytes: 1 << 20,
    };

    type Answer = oneshot::Receiver<Result<Appended, AppendError>>;

    /// One event for an aggregate that is expected at `sequence`, under a key if one is named.
    fn waiting(aggregate: u8, sequence: u64, key: Option<u8>) -> (Waiting, Answer) {
        let event = NewEvent {
            event_type: "Happened".into(),
            version: "1.0".into(),
            payload: RawValue::from_string("{}".to_owned()).unwrap(),
        };
        let request = AppendRequest {
            tenant: TenantId::PLATFORM,
            actor: Actor::system("test"),
            request_id: "r".to_owned(),
            traceparent: None,
            causation: None,
            parts: vec![AggregateAppend {
                aggregate: "thing".into(),
                aggregate_id: aggregate.to_string(),
                expected: Sequence(sequence),
                events: vec![event],
            }],
            documents: Vec::new(),
            idempotency: key.map(|key| IdempotencyClaim {
                key_hash: [key; 32],
                fingerprint: [0; 32],
            }),
            new_heads: Vec::new(),
        };
        let (answer, answered) = oneshot::channel();
        (Waiting { request, answer }, answered)
    }

    fn room(of: &[(u8, Option<u8>)]) -> WaitingRoom {
        let mut room = WaitingRoom::default();
        of.iter()
            .for_each(|(aggregate, key)| room.enter(waiting(*aggregate, 0, *key).0));
        room
    }

    fn names(batch: &[Waiting]) -> Vec<u8> {
        let name = |waiting: &Waiting| waiting.request.parts[0].aggregate_id.parse().unwrap();
        batch.iter().map(name).collect()
    }

    /// A whole batch, which is then being written.
    fn choose(room: &mut WaitingRoom, limits: BatchLimits) -> Vec<Waiting> {
        let batch = std::iter::from_fn(|| room.next(limits)).collect();
        room.send_off();
        batch
    }

    /// The same, once it is known what became of the batch before.
    fn choose_alone(room: &mut WaitingRoom, limits: BatchLimits) -> Vec<Waiting> {
        room.start_over();
        choose(room, limits)
    }

    #[test]
    fn the_first_on_an_aggregate_or_key_wins_and_the_others_keep_their_places() {
        let mut room = room(&[(1, None), (1, None), (2, Some(9)), (3, Some(9)), (4, None)]);
        assert_eq!(names(&choose_alone(&mut room, ROOMY)), [1, 2, 4]);
        assert_eq!(names(&choose_alone(&mut room, ROOMY)), [1, 3]);
        assert!(room.is_empty() && choose_alone(&mut room, ROOMY).is_empty());
    }

    #[test]
    fn a_request_larger_than_a_batch_goes_alone() {
        let mut room = room(&[(1, None), (2, None)]);
        let tight = BatchLimits {
            events: 256,
            bytes: 1,
        };
        assert_eq!(names(&choose_alone(&mut room, tight)), [1]);
        assert_eq!(names(&choose_alone(&mut room, tight)), [2]);
    }

    #[test]
    fn after_a_refused_batch_each_of_it_is_tried_alone_and_then_together_again() {
        let mut room = room(&[(1, None), (2, None), (3, None), (4, None)]);
        let two = BatchLimits { events: 2, ..ROOMY };
        let refused = choose_alone(&mut room, two);
        room.put_back_singly(refused);
        let batches: Vec<_> = (0..3).map(|_| names(&choose_alone(&mut room, ROOMY))).collect();
        assert_eq!(batches, [vec![1], vec![2], vec![3, 4]]);
    }

    #[test]
    fn who_waits_on_an_aggregate_that_moved_is_told_so_unless_a_key_may_have_been_used() {
        let (written, _) = waiting(1, 0, None);
        let (overtaken, mut told) = waiting(1, 0, None);
        let (keyed, _kept) = waiting(1, 0, Some(1));
        let (next, _kept_too) = waiting(1, 1, None);
        let mut room = WaitingRoom::default();
        [overtaken, keyed, next].into_iter().for_each(|it| room.enter(it));
        room.refuse_overtaken(std::iter::once(&written.request));
        let refused = told.try_recv().unwrap();
        assert!(matches!(refused, Err(AppendError::Conflict { actual, .. }) if actual == Sequence(1)));
        assert_eq!(room.len(), 2);
    }

    #[test]
    fn what_the_batch_that_is_being_written_holds_waits_until_that_is_known() {
        let mut room = room(&[(1, Some(9)), (2, None)]);
        assert_eq!(names(&choose(&mut room, ROOMY)), [1, 2]);
        for (aggregate, key) in [(1, None), (3, Some(9)), (4, None), (1, None)] {
            room.enter(waiting(aggregate, 1, key).0);
        }
        assert_eq!(names(&choose(&mut room, ROOMY)), [4]);
        assert_eq!(names(&choose(&mut room, ROOMY)), [1, 3]);
        assert_eq!(names(&choose_alone(&mut room, ROOMY)), [1]);
    }

    proptest! {
        #[test]
        fn batches_hold_everything_once_and_each_aggregate_and_key_in_its_order(
            of in prop::collection::vec((0_u8..4, prop::option::of(0_u8..3)), 0..40),
            events in 1_usize..6,
        ) {
            let mut room = WaitingRoom::default();
            for (place, (aggregate, key)) in of.iter().enumerate() {
                // The expected sequence serves as the place in the queue.
                room.enter(waiting(*aggregate, place as u64, *key).0);
            }
            let mut left = of.len();
            let mut last: HashMap<(bool, u8), u64> = HashMap::new();
            while !room.is_empty() {
                let batch = choose_alone(&mut room, BatchLimits { events, ..ROOMY });
                prop_assert!(!batch.is_empty() && batch.len() <= events);
                left -= batch.len();
                let mut now = HashSet::new();
                for waiting in &batch {
                    let part = &waiting.request.parts[0];
                    let key = waiting.request.idempotency.map(|claim| (true, claim.key_hash[0]));
                    for name in [Some((false, part.aggregate_id.parse().unwrap())), key].into_iter().flatten() {
                        prop_assert!(now.insert(name), "twice in one batch");
                        let before = last.insert(name, part.expected.0);
                        prop_assert!(before.is_none_or(|before| before < part.expected.0), "overtaken");
                    }
                }
            }
            prop_assert_eq!(left, 0);
        }
    }
}
