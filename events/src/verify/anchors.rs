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
    /// Another copy of the log: it reached at least there.
    OtherCopy,
}

/// That the log reaches `position`, and what the event there hashes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Who says so.
    pub source: AnchorSource,
    /// Where.
    pub position: Position,
    /// Its hash, where that is known.
    pub hash: Option<EventHash>,
}

impl Anchor {
    /// What is wrong if the event at its position has `hash`.
    pub(super) fn contradiction(&self, hash: &EventHash) -> Option<Problem> {
        let said = self.hash.filter(|said| said != hash)?;
        Some(match self.source {
            AnchorSource::Head => (
                FindingKind::ChainBroken,
                format!("the head says {said}, the event hashes to {hash}"),
            ),
            AnchorSource::HeadNote => (
                FindingKind::HeadNoteConflict,
                format!("a head note says {said}, the event hashes to {hash}"),
            ),
            AnchorSource::OtherCopy => (
                FindingKind::Differs,
                format!("the other copy holds {said}, this one {hash}"),
            ),
        })
    }
}

/// Anchors not yet passed.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    ahead: BTreeMap<Position, Anchor>,
    head: Option<Position>,
    furthest: Position,
}

impl Anchors {
    /// Remembers how far the log is known to reach.
    pub fn reach(&mut self, anchor: &Anchor) {
        if anchor.source == AnchorSource::Head {
            self.head = Some(anchor.position);
        }
        self.furthest = self.furthest.max(anchor.position);
    }

    /// Adds one that is still to be passed; the conflict with one that is there already, if there is any.
    pub fn add(&mut self, anchor: Anchor) -> Option<Problem> {
        self.reach(&anchor);
        let kept = self.ahead.entry(anchor.position).or_insert(anchor);
        let (Some(said), Some(now)) = (kept.hash, anchor.hash) else {
            if kept.hash.is_none() {
                *kept = anchor;
            }
            return None;
        };
        (said != now).then(|| {
            let detail = format!("one head says {said}, another {now}");
            (FindingKind::HeadNoteConflict, detail)
        })
    }

    /// Passes a position whose event has `hash`; the contradiction with an anchor there, if there is any.
    pub fn contradiction(&mut self, at: Position, hash: &EventHash) -> Option<Problem> {
        self.pass(at)?.contradiction(hash)
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

    /// The furthest position that the log is known to reach.
    pub fn furthest(&self) -> Position {
        self.furthest
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
