//! A KRI's status at an instant: the colour of its latest value, unless that value is too old or there is none.
//!
//! Stale and missing are states of their own and never count as green. Nothing here reads a clock: the caller
//! says for which instant it asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bands::Band;
use crate::timestamp::Timestamp;

/// A KRI's status, least worrying first. The order is that of attention: what is unknown may hide anything, so
/// it outranks amber; a breach that is known outranks what is unknown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KriStatus {
    /// Measured in time, within appetite.
    Green,
    /// Measured in time, to be watched.
    Amber,
    /// Never measured.
    Missing,
    /// Measured, but longer ago than its frequency and grace allow.
    Stale,
    /// Measured in time, and breached.
    Red,
}

impl From<Band> for KriStatus {
    fn from(band: Band) -> Self {
        match band {
            Band::Green => Self::Green,
            Band::Amber => Self::Amber,
            Band::Red => Self::Red,
        }
    }
}

impl KriStatus {
    /// Whether it rests on a value that is fresh.
    #[must_use]
    pub fn is_fresh(self) -> bool {
        matches!(self, Self::Green | Self::Amber | Self::Red)
    }
}

/// The status at `at` of a value of colour `band` that is fresh up to and including `fresh_until`.
#[must_use]
pub fn status_at(band: Band, fresh_until: Timestamp, at: Timestamp) -> KriStatus {
    if at > fresh_until {
        KriStatus::Stale
    } else {
        band.into()
    }
}

/// The status most in need of attention; `None` of nothing.
pub fn worst(statuses: impl IntoIterator<Item = KriStatus>) -> Option<KriStatus> {
    statuses.into_iter().max()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_value_is_stale_from_the_first_instant_after_its_freshness_whatever_its_colour() {
        let fresh_until: Timestamp = "2026-03-01T00:00:00.000000Z".parse().unwrap();
        for band in [Band::Green, Band::Amber, Band::Red] {
            assert_eq!(status_at(band, fresh_until, fresh_until), KriStatus::from(band));
            let after = (fresh_until.as_datetime() + TimeDelta::microseconds(1)).into();
            assert_eq!(status_at(band, fresh_until, after), KriStatus::Stale);
        }
    }

    #[test]
    fn what_is_unknown_outranks_amber_and_is_outranked_by_red() {
        use KriStatus::{Amber, Green, Missing, Red, Stale};
        assert_eq!(worst([Green, Stale, Amber]), Some(Stale));
        assert_eq!(worst([Missing, Green]), Some(Missing));
        assert_eq!(worst([Stale, Red, Missing]), Some(Red));
        assert_eq!(worst([]), None);
        assert!(!Stale.is_fresh() && !Missing.is_fresh());
    }
}
