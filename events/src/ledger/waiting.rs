//! The requests that wait on a lane, in the order in which they came, and which of them go into the next batch. Pure:
//! it knows neither clock nor database.
//!
//! Within a batch the first request on an aggregate or key wins; the others keep their places for the next one.

use std::collections::{HashMap, HashSet, VecDeque};

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
    requests: VecDeque<Waiting>,
    /// Requests to choose one by one, after a batch that Postgres refused: so that only the culprit fails.
    singly: usize,
}

impl WaitingRoom {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
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
        self.requests.drain(..)
    }

    /// The next batch: distinct aggregates and keys, within the limits; at least one request if one waits.
    pub(super) fn choose(&mut self, limits: BatchLimits) -> Vec<Waiting> {
        let taken = self.taken(limits);
        self.singly = self.singly.saturating_sub(1);
        let (mut batch, mut passed_over) = (Vec::with_capacity(taken.len()), Vec::new());
        for (waiting, is_taken) in self.requests.drain(..taken.len()).zip(taken) {
            match is_taken {
                true => batch.push(waiting),
                false => passed_over.push(waiting),
            }
        }
        self.put_back(passed_over);
        batch
    }

    /// For the requests up to the first that does not fit any more: whether each goes into the batch.
    fn taken(&self, limits: BatchLimits) -> Vec<bool> {
        let (mut aggregates, mut keys) = (HashSet::new(), HashSet::new());
        let (mut events, mut bytes) = (0, 0);
        let mut taken = Vec::new();
        for Waiting { request, .. } in &self.requests {
            let (more_events, more_bytes) = (request.event_count(), request.weight());
            let full =
                self.singly > 0 || events + more_events > limits.events || bytes + more_bytes > limits.bytes;
            if full && events > 0 {
                break;
            }
            let is_free = parts(request).all(|(name, _)| !aggregates.contains(&name))
                && request
                    .idempotency
                    .is_none_or(|claim| !keys.contains(&claim.key_hash));
            // Also of one that is passed over: who came later on the same waits behind it.
            aggregates.extend(parts(request).map(|(name, _)| name));
            keys.extend(request.idempotency.map(|claim| claim.key_hash));
            if is_free {
                events += more_events;
                bytes += more_bytes;
            }
            taken.push(is_free);
        }
        taken
    }

    /// Answers those who wait on an aggregate that `written` just moved: they would be refused anyway. A request with
    /// a key stays, since its key may have been used, and the database knows.
    pub(super) fn refuse_overtaken<'a>(&mut self, written: impl Iterator<Item = &'a Waiting>) {
        if self.requests.is_empty() {
            return;
        }
        let written = written.flat_map(|waiting| &waiting.request.parts);
        let moved: HashMap<(&str, &str), Sequence> = written
            .map(|part| {
                let now = Sequence(part.expected.0 + part.events.len() as u64);
                ((part.aggregate.as_ref(), part.aggregate_id.as_str()), now)
            })
            .collect();
        for waiting in std::mem::take(&mut self.requests) {
            let overtaken = parts(&waiting.request).find_map(|(name, expected)| {
                let actual = *moved.get(&name)?;
                (actual != expected).then(|| AppendError::conflict(name.0, name.1, actual))
            });
            match overtaken.filter(|_| waiting.request.idempotency.is_none()) {
                Some(error) => waiting.answer(Err(error)),
                None => self.requests.push_back(waiting),
            }
        }
    }
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

    #[test]
    fn the_first_on_an_aggregate_or_key_wins_and_the_others_keep_their_places() {
        let mut room = room(&[(1, None), (1, None), (2, Some(9)), (3, Some(9)), (4, None)]);
        assert_eq!(names(&room.choose(ROOMY)), [1, 2, 4]);
        assert_eq!(names(&room.choose(ROOMY)), [1, 3]);
        assert!(room.is_empty() && room.choose(ROOMY).is_empty());
    }

    #[test]
    fn a_request_larger_than_a_batch_goes_alone() {
        let mut room = room(&[(1, None), (2, None)]);
        let tight = BatchLimits {
            events: 256,
            bytes: 1,
        };
        assert_eq!(names(&room.choose(tight)), [1]);
        assert_eq!(names(&room.choose(tight)), [2]);
    }

    #[test]
    fn after_a_refused_batch_each_of_it_is_tried_alone_and_then_together_again() {
        let mut room = room(&[(1, None), (2, None), (3, None), (4, None)]);
        let two = BatchLimits { events: 2, ..ROOMY };
        let refused = room.choose(two);
        room.put_back_singly(refused);
        let batches: Vec<_> = (0..3).map(|_| names(&room.choose(ROOMY))).collect();
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
        room.refuse_overtaken([&written].into_iter());
        let refused = told.try_recv().unwrap();
        assert!(matches!(refused, Err(AppendError::Conflict { actual, .. }) if actual == Sequence(1)));
        assert_eq!(room.len(), 2);
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
                let batch = room.choose(BatchLimits { events, ..ROOMY });
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
