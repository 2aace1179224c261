//! The law of the seam: whoever goes on from a cursor sees each position once and in order, or is told that it cannot.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil_events::ids::Position;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::subscriptions::item::sample;

const LIMITS: WindowLimits = WindowLimits {
    events_max: 8,
    bytes_max: 64 * 1024,
};

fn items(from: u64, count: u64) -> impl Iterator<Item = Arc<Item>> {
    (from..from + count).map(|position| Arc::new(sample(Position(position), "AgentRegistered")))
}

/// What may happen to a log and one who follows it.
#[derive(Debug, Clone)]
enum Step {
    /// So many events are appended and read.
    Append(u64),
    /// The follower takes at most so many.
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u64..6).prop_map(Step::Append),
        (1_usize..6).prop_map(Step::Take)
    ]
}

proptest! {
    #[test]
    fn a_follower_sees_each_position_once_and_in_order_or_is_told_that_it_fell_behind(
        base in 0_u64..20, behind in 0_u64..20, steps in vec(step(), 1..60),
    ) {
        let mut window = Window::new(Position(base), LIMITS);
        let mut cursor = Position(base.saturating_sub(behind));
        let mut head = base;
        for step in steps {
            match step {
                Step::Append(count) => {
                    window.push(items(head + 1, count)).unwrap();
                    head += count;
                }
                Step::Take(limit) => match window.after(cursor, limit) {
                    Next::Events(taken) => {
                        prop_assert!(!taken.is_empty() && taken.len() <= limit);
                        for item in taken {
                            prop_assert_eq!(item.position(), cursor.next());
                            cursor = item.position();
                        }
                    }
                    Next::Nothing => prop_assert_eq!(cursor.0, head),
                    Next::Gone => {
                        prop_assert!(cursor.0 < head);
                        // Catching up: as if it had read the rest from Postgres.
                        cursor = Position(head);
                    }
                },
            }
            prop_assert_eq!(window.end(), Position(head));
        }
    }

    #[test]
    fn a_window_is_bounded_and_always_holds_the_newest(sizes in vec(1_u64..30, 1..20), bytes_max in 1_usize..4_000) {
        let limits = WindowLimits { events_max: 5, bytes_max };
        let mut window = Window::new(Position::ZERO, limits);
        let mut head = 0;
        for count in sizes {
            window.push(items(head + 1, count)).unwrap();
            head += count;
            let held: BTreeMap<_, _> = window.items.iter().map(|item| (item.position(), item.bytes())).collect();
            let bytes: usize = held.values().sum();
            prop_assert_eq!(bytes, window.bytes);
            prop_assert!(held.len() == 1 || (held.len() <= 5 && bytes <= bytes_max));
            prop_assert!(held.contains_key(&Position(head)));
        }
    }
}

#[test]
fn a_hole_in_the_log_is_refused() {
    let mut window = Window::new(Position(4), LIMITS);
    let hole = window.push(items(6, 1)).unwrap_err();
    assert_eq!(
        hole.to_string(),
        "position 5 is missing from the log: after it comes 6; run `counterfoil audit verify`"
    );
}
