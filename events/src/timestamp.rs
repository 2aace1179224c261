//! Time as the log writes it: UTC, microseconds, one spelling (RFC 3339).
//!
//! `recorded_at` is a claim of the writer, never an order. It is set at placement from an injected clock and
//! never decreases along a log.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, SubsecRound, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// The one spelling; `0` stands for a digit.
const PATTERN: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";

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

    /// So much later; none beyond what a calendar holds.
    #[must_use]
    pub fn checked_add(self, delay: Duration) -> Option<Self> {
        let delay = TimeDelta::from_std(delay).ok()?;
        self.0.checked_add_signed(delay).map(Self::from)
    }

    /// So much earlier; none before what a calendar holds.
    #[must_use]
    pub fn checked_sub(self, delay: Duration) -> Option<Self> {
        let delay = TimeDelta::from_std(delay).ok()?;
        self.0.checked_sub_signed(delay).map(Self::from)
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
        let (day, time) = (self.0.date_naive(), self.0.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            day.year(),
            day.month(),
            day.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.nanosecond() / 1000
        )
    }
}

/// Text that is not a moment in the log's spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UTC time with microseconds, such as 2026-11-20T12:00:00.000000Z")]
pub struct TimestampError(String);

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| TimestampError(text.chars().take(40).collect()))
    }
}

/// By hand, because chrono's own parser takes more time than hashing and reading the rest of an envelope, and
/// accepts more than the one spelling.
fn parse(text: &str) -> Option<Timestamp> {
    let text: &[u8; 27] = text.as_bytes().try_into().ok()?;
    let spelt = text.iter().zip(PATTERN).all(|(have, want)| match want {
        b'0' => have.is_ascii_digit(),
        _ => have == want,
    });
    if !spelt {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        text[range]
            .iter()
            .fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    };
    let year = i32::try_from(number(0..4)).ok()?;
    NaiveDate::from_ymd_opt(year, number(5..7), number(8..10))?
        .and_hms_micro_opt(number(11..13), number(14..16), number(17..19), number(20..26))
        .map(|time| Timestamp(time.and_utc()))
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

#[cfg(feature = "log")]
crate::text::string_schema!(Timestamp, {
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"
});

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
            "2026-11-20 12:00:00.000001Z",
            "2026-11-20t12:00:00.000001z",
            "2026-02-30T12:00:00.000001Z",
            "2026-12-31T23:59:60.000000Z",
            "+026-11-20T12:00:00.000001Z",
        ] {
            assert!(other.parse::<Timestamp>().is_err(), "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_moment_of_ten_thousand_years_reads_back(micros in -62_167_219_200_000_000i64..253_402_300_800_000_000) {
            let moment = Timestamp::from(DateTime::from_timestamp_micros(micros).unwrap());
            proptest::prop_assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        }
    }
}
