//! The latest events of one log, held once for all who follow it live.
//!
//! A ring bounded by events and bytes, addressed by position: positions have no gaps, so a follower is nothing but a
//! cursor, and whether it can go on from here is one comparison. That makes the seam between catching up from
//! Postgres and following live free of gaps and duplicates by construction.

use std::collections::VecDeque;
use std::sync::Arc;

use counterfoil_events::ids::Position;

use super::item::Item;

/// How much a window holds.
#[derive(Debug, Clone, Copy)]
pub struct WindowLimits {
    /// Events at most.
    pub events_max: usize,
    /// Bytes at most; the newest event is always held.
    pub bytes_max: usize,
}

/// The latest events of one log.
#[derive(Debug)]
pub(super) struct Window {
    /// Without a gap; the last one is at `end`.
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    end: Position,
    limits: WindowLimits,
}

/// What a follower finds after its cursor.
#[derive(Debug)]
pub(super) enum Next {
    /// The events that follow it.
    Events(Vec<Arc<Item>>),
    /// Nothing yet: it stands at the end.
    Nothing,
    /// What follows it has left the window, or never was in it.
    Gone,
}

/// Events that do not follow the window's end: the log has a hole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "position {expected} is missing from the log: after it comes {found}; run `counterfoil audit verify`"
)]
pub(super) struct Hole {
    expected: Position,
    found: Position,
}

impl Window {
    /// Empty, after `end`.
    pub(super) fn new(end: Position, limits: WindowLimits) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            end,
            limits,
        }
    }

    /// The last position it has reached.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Adds the events that follow its end, and lets go of the oldest.
    pub(super) fn push(&mut self, items: impl IntoIterator<Item = Arc<Item>>) -> Result<(), Hole> {
        for item in items {
            let expected = self.end.next();
            if item.position() != expected {
                return Err(Hole {
                    expected,
                    found: item.position(),
                });
            }
            self.end = expected;
            self.bytes += item.bytes();
            self.items.push_back(item);
            self.shrink();
        }
        Ok(())
    }

    fn shrink(&mut self) {
        let WindowLimits {
            events_max,
            bytes_max,
        } = self.limits;
        while self.items.len() > 1 && (self.items.len() > events_max || self.bytes > bytes_max) {
            if let Some(oldest) = self.items.pop_front() {
                self.bytes -= oldest.bytes();
            }
        }
    }

    /// At most `limit` events after `cursor`.
    pub(super) fn after(&self, cursor: Position, limit: usize) -> Next {
        if cursor >= self.end {
            return Next::Nothing;
        }
        let Some(first) = self.items.front().map(|item| item.position().0) else {
            return Next::Gone;
        };
        match usize::try_from((cursor.0 + 1).wrapping_sub(first)) {
            Ok(skip) if cursor.0 + 1 >= first => {
                Next::Events(self.items.iter().skip(skip).take(limit).cloned().collect())
            }
            _ => Next::Gone,
        }
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
