//! Which positions of a log a copy holds: as ranges, so that a whole log costs as much memory as it has holes.

use std::collections::BTreeMap;

use crate::backbone::reconcile::report::Gap;
use crate::ids::Position;
use crate::verify::LossPart;

/// Positions as ranges that neither touch nor overlap: first → last.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage(BTreeMap<u64, u64>);

impl Coverage {
    /// Adds a position; false when it was there.
    pub(super) fn add(&mut self, position: Position) -> bool {
        let at = position.0;
        let before = self
            .0
            .range(..=at)
            .next_back()
            .map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= at) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last + 1 == at => first,
            _ => at,
        };
        let last = self.0.remove(&at.saturating_add(1)).unwrap_or(at);
        self.0.insert(first, last);
        true
    }

    /// The first position held.
    pub(super) fn first(&self) -> Option<Position> {
        self.0.first_key_value().map(|(first, _)| Position(*first))
    }

    /// The last position held.
    pub(super) fn last(&self) -> Option<Position> {
        self.0.last_key_value().map(|(_, last)| Position(*last))
    }

    /// What is held, as gaps of whoever lacks it. `part` names each range's place.
    pub(super) fn ranges(&self, part: impl Fn(Position, Position) -> LossPart) -> Vec<Gap> {
        let ranges = self
            .0
            .iter()
            .map(|(first, last)| (Position(*first), Position(*last)));
        ranges
            .map(|(first, last)| Gap {
                part: part(first, last),
                first,
                last,
            })
            .collect()
    }

    /// What is missing of the positions from 1 to `head`.
    pub(super) fn gaps(&self, head: Position) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut next = Position(1);
        let mut part = LossPart::Prefix;
        for (first, last) in &self.0 {
            if Position(*first) > next && next <= head {
                let last = Position(first - 1).min(head);
                gaps.push(Gap {
                    part,
                    first: next,
                    last,
                });
            }
            part = LossPart::Middle;
            next = Position(*last).next();
        }
        if next <= head {
            gaps.push(Gap {
                part: LossPart::Tail,
                first: next,
                last: head,
            });
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn gaps(held: &[u64], head: u64) -> Vec<(LossPart, u64, u64)> {
        let mut coverage = Coverage::default();
        for position in held {
            coverage.add(Position(*position));
        }
        let gaps = coverage.gaps(Position(head));
        gaps.iter()
            .map(|gap| (gap.part, gap.first.0, gap.last.0))
            .collect()
    }

    #[test]
    fn losses_are_named_by_where_they_are() {
        assert_eq!(gaps(&[1, 2, 3], 3), []);
        assert_eq!(gaps(&[], 2), [(LossPart::Tail, 1, 2)]);
        assert_eq!(
            gaps(&[3, 4, 7, 9], 11),
            [
                (LossPart::Prefix, 1, 2),
                (LossPart::Middle, 5, 6),
                (LossPart::Middle, 8, 8),
                (LossPart::Tail, 10, 11)
            ]
        );
        assert_eq!(gaps(&[5], 3), [(LossPart::Prefix, 1, 3)]);
    }

    proptest! {
        #[test]
        fn gaps_and_what_is_held_make_the_whole_log(held in prop::collection::vec(1u64..60, 0..80), head in 0u64..60) {
            let mut coverage = Coverage::default();
            let mut set = BTreeSet::new();
            for position in held {
                prop_assert_eq!(coverage.add(Position(position)), set.insert(position));
            }
            let missing: BTreeSet<u64> = coverage.gaps(Position(head)).iter().flat_map(|gap| gap.first.0..=gap.last.0).collect();
            let expected: BTreeSet<u64> = (1..=head).filter(|position| !set.contains(position)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(coverage.last().map(|last| last.0), set.last().copied());
        }
    }
}
