//! A measurement, and which two of them are the latest and the one before.

use counterfoil_events::ids::{EventId, Position};
use counterfoil_events::kri::aggregates::run::KriRunEvent;
use counterfoil_events::kri::bands::{Band, Bands};
use counterfoil_events::kri::status::{KriStatus, status_at};
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::FoldEvent;

/// One value of a KRI, with all that judging it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// The value.
    pub value: KriValue,
    /// Its colour when it was measured.
    pub band: Band,
    /// The bands that it was judged by.
    pub bands: Bands,
    /// When it was so.
    pub measured_at: Timestamp,
    /// Until when it counts as fresh.
    pub fresh_until: Timestamp,
    /// The event that says so.
    pub event_id: EventId,
    /// Where that event stands.
    pub position: Position,
}

impl Measurement {
    /// The measurement that an event of a run holds, if it does.
    #[must_use]
    pub fn of(event: &FoldEvent<'_>, change: &KriRunEvent) -> Option<Self> {
        let KriRunEvent::KriRunCompleted {
            value,
            status,
            bands,
            measured_at,
            fresh_until,
            ..
        } = change
        else {
            return None;
        };
        Some(Self {
            value: *value,
            band: *status,
            bands: *bands,
            measured_at: *measured_at,
            fresh_until: *fresh_until,
            event_id: event.event_id,
            position: event.position,
        })
    }

    /// Its status at `at`.
    #[must_use]
    pub fn status_at(&self, at: Timestamp) -> KriStatus {
        status_at(self.band, self.fresh_until, at)
    }
}

/// The latest measurement and the one before it, by the instants that were measured. Every further measurement takes
/// its place, in whatever order they come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Latest {
    /// The latest.
    pub latest: Option<Measurement>,
    /// The one before it.
    pub previous: Option<Measurement>,
}

impl Latest {
    /// Takes a measurement in. One of the same instant replaces what was measured there.
    pub fn take(&mut self, new: Measurement) {
        let place =
            |slot: &Option<Measurement>| slot.as_ref().map(|held| new.measured_at.cmp(&held.measured_at));
        use std::cmp::Ordering::{Equal, Greater, Less};
        match place(&self.latest) {
            None => self.latest = Some(new),
            Some(Greater) => self.previous = self.latest.replace(new),
            Some(Equal) => self.latest = Some(new),
            Some(Less) => match place(&self.previous) {
                None | Some(Greater | Equal) => self.previous = Some(new),
                Some(Less) => {}
            },
        }
    }
}
