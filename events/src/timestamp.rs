//! Time as the log writes it: UTC, microseconds, one spelling (RFC 3339).
//!
//! `recorded_at` is a claim of the writer, never an order. It is set at placement from an injected clock and
//! never decreases along a log.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// A moment, to the microsecond: `2026-11-20T12:00:00.000000Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Before everything: the empty log's.
    pub const EPOCH: Self = Self(DateTime::UNIX_EPOCH);

    /// The wall clock, now.
    #[must_use]
    pub fn now() -> Self {
        Utc::now().into()
    }

    /// As chrono has it.
    #[must_use]
    pub fn as_datetime(self) -> DateTime<Utc> {
        self.0
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0.timestamp_micros()
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(value: DateTime<Utc>) -> Self {
        Self(value.trunc_subsecs(6))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format(FORMAT))
    }
}

/// Text that is not a moment in the log's spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UTC time with microseconds, such as 2026-11-20T12:00:00.000000Z")]
pub struct TimestampError(String);

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || TimestampError(text.chars().take(40).collect());
        let time = NaiveDateTime::parse_from_str(text, FORMAT).map_err(|_| error())?;
        let time = Self(time.and_utc());
        // One spelling: chrono also reads fewer digits, which would not write back the same.
        if time.to_string() == text {
            Ok(time)
        } else {
            Err(error())
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::deserialize_text(deserializer)
    }
}

/// Where the time comes from; injected, so that a test can turn it.
pub trait Clock: Send + Sync {
    /// The moment it is.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_moment_has_one_spelling() {
        let text = "2026-11-20T12:00:00.000001Z";
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        for other in [
            "2026-11-20T12:00:00Z",
            "2026-11-20T12:00:00.1Z",
            "2026-11-20T12:00:00.000001+00:00",
        ] {
            assert!(other.parse::<Timestamp>().is_err(), "{other}");
        }
    }
}
