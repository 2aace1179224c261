//! What is known from elsewhere of single positions: the store's head, and head notes. They show a cut tail.

use std::collections::BTreeMap;

use crate::ids::{EventHash, Position};
use crate::verify::check::Problem;
use crate::verify::finding::FindingKind;

/// Where knowledge of a position comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnchorSource {
    /// The holder's own head: the log ends exactly there.
    Head,
    /// A head note whose signature holds: the log reached at least there.
    HeadNote,
}

/// That the event at `position` has `hash`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Who says so.
    pub source: AnchorSource,
    /// Where.
    pub position: Position,
    /// Its hash.
    pub hash: EventHash,
}

/// Anchors not yet passed.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    ahead: BTreeMap<Position, Anchor>,
    head: Option<Position>,
    last: Option<Anchor>,
}

impl Anchors {
    /// Adds one; the conflict with one that is there already, if there is any.
    pub fn add(&mut self, anchor: Anchor) -> Option<Problem> {
        if anchor.source == AnchorSource::Head {
            self.head = Some(anchor.position);
        }
        if self.last.is_none_or(|last| last.position < anchor.position) {
            self.last = Some(anchor);
        }
        let other = self.ahead.insert(anchor.position, anchor)?;
        (other.hash != anchor.hash).then(|| {
            let detail = format!("one head says {}, another {}", other.hash, anchor.hash);
            (FindingKind::HeadNoteConflict, detail)
        })
    }

    /// Passes a position whose event has `hash`; the contradiction with an anchor there, if there is any.
    pub fn contradiction(&mut self, at: Position, hash: &EventHash) -> Option<Problem> {
        let anchor = self.pass(at).filter(|anchor| anchor.hash != *hash)?;
        Some(match anchor.source {
            AnchorSource::Head => (
                FindingKind::ChainBroken,
                format!("the head says {}, the event hashes to {hash}", anchor.hash),
            ),
            AnchorSource::HeadNote => (
                FindingKind::HeadNoteConflict,
                format!("a head note says {}, the event hashes to {hash}", anchor.hash),
            ),
        })
    }

    /// Drops what is at or before `at`; the anchor at it.
    pub fn pass(&mut self, at: Position) -> Option<Anchor> {
        while let Some(first) = self.ahead.first_entry().filter(|first| *first.key() <= at) {
            let (position, anchor) = first.remove_entry();
            if position == at {
                return Some(anchor);
            }
        }
        None
    }

    /// The furthest one.
    pub fn last(&self) -> Option<Anchor> {
        self.last
    }

    /// The first position beyond the head, if the log goes on there.
    pub fn overrun(&self, last: Position) -> Option<(Position, String)> {
        let head = self.head.filter(|head| *head < last)?;
        Some((
            head.next(),
            format!("events run to position {last}, the head says {head}"),
        ))
    }
}
