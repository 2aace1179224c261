//! Which requests go into which batch.
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

/// Stands for the aggregate of the signing keys.
const KEYRING: u8 = 9;

type Answer = oneshot::Receiver<Result<Appended, AppendError>>;

/// One event for an aggregate that is expected at `sequence`, under a key if one is named.
fn waiting(aggregate: u8, sequence: u64, key: Option<u8>) -> (Waiting, Answer) {
    let kind = match aggregate {
        KEYRING => SigningKeys::TYPE,
        _ => "thing",
    };
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
            aggregate: kind.into(),
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
    let place = None;
    let waiting = Waiting {
        request,
        answer,
        place,
    };
    (waiting, answered)
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
    assert_eq!(room.leave().count(), 2);
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

#[test]
fn a_rotation_of_the_signing_key_is_the_last_of_its_batch() {
    let mut room = room(&[(1, None), (KEYRING, None), (2, None), (3, None)]);
    assert_eq!(names(&choose_alone(&mut room, ROOMY)), [1, KEYRING]);
    assert_eq!(names(&choose_alone(&mut room, ROOMY)), [2, 3]);
}

/// What happens to a room while batches are written one after the other, each placed while the one before is under way.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// A request for this aggregate under this key comes.
    Enters(u8, Option<u8>),
    /// One more is placed.
    Next,
    /// The batch in the making is sent off, if none is under way.
    SendOff,
    /// The one under way is durable.
    Written,
    /// It was not written: it and what was placed behind it go back.
    Missed,
    /// Postgres refused it: the same, one by one.
    Refused,
}

fn happens() -> impl Strategy<Value = Happens> {
    let aggregate = prop_oneof![6 => 0_u8..4, 1 => Just(KEYRING)];
    prop_oneof![
        4 => (aggregate, prop::option::of(0_u8..3)).prop_map(|(aggregate, key)| Happens::Enters(aggregate, key)),
        4 => Just(Happens::Next),
        2 => Just(Happens::SendOff),
        2 => Just(Happens::Written),
        1 => Just(Happens::Missed),
        1 => Just(Happens::Refused),
    ]
}

/// A lane's side of the room, as `lane` keeps it.
#[derive(Default)]
struct Pipelined {
    room: WaitingRoom,
    making: Vec<Waiting>,
    writing: Option<Vec<Waiting>>,
    written: Vec<Waiting>,
    entered: u64,
}

type Held = Vec<(bool, u8)>;

fn held(waiting: &Waiting) -> Held {
    let aggregate = (false, waiting.request.parts[0].aggregate_id.parse().unwrap());
    let key = waiting.request.idempotency.map(|claim| (true, claim.key_hash[0]));
    std::iter::once(aggregate).chain(key).collect()
}

impl Pipelined {
    fn step(&mut self, happens: Happens, limits: BatchLimits) -> Result<(), TestCaseError> {
        match happens {
            Happens::Enters(aggregate, key) => {
                self.room.enter(waiting(aggregate, self.entered, key).0);
                self.entered += 1;
            }
            Happens::Next => self.next(limits)?,
            Happens::SendOff if self.writing.is_none() => {
                self.room.send_off();
                self.writing = Some(std::mem::take(&mut self.making)).filter(|batch| !batch.is_empty());
            }
            Happens::SendOff => {}
            Happens::Written => {
                self.room.known();
                self.written.extend(self.writing.take().into_iter().flatten());
            }
            Happens::Missed | Happens::Refused => {
                let Some(batch) = self.writing.take() else {
                    return Ok(());
                };
                self.room.start_over();
                self.room.put_back(std::mem::take(&mut self.making));
                match happens {
                    Happens::Refused => self.room.put_back_singly(batch),
                    _ => self.room.put_back(batch),
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, limits: BatchLimits) -> Result<(), TestCaseError> {
        let Some(next) = self.room.next(limits) else {
            return Ok(());
        };
        let under_way = self.writing.iter().flatten().chain(&self.making);
        let taken: HashSet<(bool, u8)> = under_way.flat_map(held).collect();
        prop_assert!(held(&next).iter().all(|name| !taken.contains(name)), "held twice");
        let rotates = self
            .making
            .iter()
            .any(|waiting| held(waiting)[0] == (false, KEYRING));
        prop_assert!(!rotates, "something follows a rotation");
        self.making.push(next);
        prop_assert!(self.making.len() <= limits.events);
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_happens_while_batches_are_under_way_each_request_is_written_once_and_in_its_order(
        all in prop::collection::vec(happens(), 0..120),
        events in 1_usize..6,
    ) {
        let limits = BatchLimits { events, ..ROOMY };
        let mut lane = Pipelined::default();
        for happens in all {
            lane.step(happens, limits)?;
        }
        // To the end, without further mishaps.
        let end = std::iter::repeat_n(Happens::Next, events).chain([Happens::Written, Happens::SendOff, Happens::Written]);
        for _ in 0..=2 * lane.entered {
            for happens in end.clone() {
                lane.step(happens, limits)?;
            }
        }
        prop_assert!(lane.room.is_empty() && lane.making.is_empty() && lane.writing.is_none());
        prop_assert_eq!(lane.written.len() as u64, lane.entered);
        let mut last: HashMap<(bool, u8), u64> = HashMap::new();
        for waiting in &lane.written {
            let place = waiting.request.parts[0].expected.0;
            for name in held(waiting) {
                let before = last.insert(name, place);
                prop_assert!(before.is_none_or(|before| before < place), "overtaken");
            }
        }
    }
}
