//! How often a KRI is due, and until when a measurement counts as fresh.
//!
//! A measurement is fresh for one period and a grace. Months and quarters are calendar ones in UTC: what was
//! measured on 31 January is due again at the end of February. The result is fixed in the event as `fresh_until`,
//! so a later change of frequency does not rewrite history.

use chrono::{DateTime, Months, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// Longest grace: beyond a year, a KRI would be said to be fresh without ever having to be measured again.
pub const MAX_GRACE_S: u32 = 366 * 24 * 60 * 60;

/// 9999-12-31T23:59:59Z. Years have four digits in the log's spelling of time, so nothing is fresh for longer.
pub const END_OF_TIME: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(end) => end,
    None => DateTime::UNIX_EPOCH,
};

/// How often a KRI is measured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Frequency {
    /// Every hour.
    Hourly,
    /// Every 24 hours.
    Daily,
    /// Every seven days.
    Weekly,
    /// Every calendar month.
    Monthly,
    /// Every three calendar months.
    Quarterly,
}

impl Frequency {
    fn after(self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Hourly => from.checked_add_signed(TimeDelta::hours(1)),
            Self::Daily => from.checked_add_signed(TimeDelta::days(1)),
            Self::Weekly => from.checked_add_signed(TimeDelta::days(7)),
            Self::Monthly => from.checked_add_months(Months::new(1)),
            Self::Quarterly => from.checked_add_months(Months::new(3)),
        }
    }
}

/// A frequency and the delay that is forgiven.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawSchedule", into = "RawSchedule")]
pub struct Schedule {
    frequency: Frequency,
    grace_s: u32,
}

/// A grace beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("grace_s is {grace_s}; at most {MAX_GRACE_S} (366 days) is allowed")]
pub struct GraceTooLong {
    /// What was asked for, in seconds.
    pub grace_s: u32,
}

impl Schedule {
    /// Takes a frequency and a grace in seconds.
    ///
    /// # Errors
    /// When the grace is over [`MAX_GRACE_S`].
    pub fn new(frequency: Frequency, grace_s: u32) -> Result<Self, GraceTooLong> {
        if grace_s > MAX_GRACE_S {
            return Err(GraceTooLong { grace_s });
        }
        Ok(Self { frequency, grace_s })
    }

    /// How often the KRI is measured.
    #[must_use]
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// The delay that is forgiven, in seconds.
    #[must_use]
    pub fn grace_s(&self) -> u32 {
        self.grace_s
    }

    /// The last instant at which a measurement of `measured_at` counts as fresh: at the latest [`END_OF_TIME`].
    #[must_use]
    pub fn fresh_until(&self, measured_at: Timestamp) -> Timestamp {
        let grace = TimeDelta::seconds(i64::from(self.grace_s));
        let due = self.frequency.after(measured_at.as_datetime());
        let until = due.and_then(|due| due.checked_add_signed(grace));
        until.map_or(END_OF_TIME, |until| END_OF_TIME.min(until)).into()
    }
}

/// When a value counts as measured: when its source says it was observed, but never later than the run that
/// fetched it. A source that dates its figures in the future must not stay fresh for ever.
#[must_use]
pub fn measured_at(observed_at: Option<Timestamp>, run_at: Timestamp) -> Timestamp {
    observed_at.map_or(run_at, |observed_at| observed_at.min(run_at))
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Schedule")]
struct RawSchedule {
    frequency: Frequency,
    #[serde(default)]
    #[schemars(range(max = MAX_GRACE_S))]
    grace_s: u32,
}

impl TryFrom<RawSchedule> for Schedule {
    type Error = GraceTooLong;

    fn try_from(raw: RawSchedule) -> Result<Self, GraceTooLong> {
        Self::new(raw.frequency, raw.grace_s)
    }
}

impl From<Schedule> for RawSchedule {
    fn from(schedule: Schedule) -> Self {
        Self {
            frequency: schedule.frequency,
            grace_s: schedule.grace_s,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<DateTime<Utc>>().unwrap().into()
    }

    fn fresh_until(frequency: Frequency, grace_s: u32, measured_at: &str) -> Timestamp {
        Schedule::new(frequency, grace_s)
            .unwrap()
            .fresh_until(at(measured_at))
    }

    #[test]
    fn a_period_is_a_fixed_time_or_a_calendar_month() {
        for (frequency, until) in [
            (Frequency::Hourly, "2026-01-31T13:00:00Z"),
            (Frequency::Daily, "2026-02-01T12:00:00Z"),
            (Frequency::Weekly, "2026-02-07T12:00:00Z"),
            (Frequency::Monthly, "2026-02-28T12:00:00Z"),
            (Frequency::Quarterly, "2026-04-30T12:00:00Z"),
        ] {
            assert_eq!(
                fresh_until(frequency, 0, "2026-01-31T12:00:00Z"),
                at(until),
                "{frequency:?}"
            );
        }
        assert_eq!(
            fresh_until(Frequency::Daily, 90, "2026-01-01T00:00:00Z"),
            at("2026-01-02T00:01:30Z")
        );
    }

    #[test]
    fn the_end_of_the_calendar_does_not_overflow() {
        let end = at("9999-12-31T23:59:59Z");
        for from in [end, DateTime::<Utc>::MAX_UTC.into()] {
            for frequency in [Frequency::Hourly, Frequency::Quarterly] {
                let schedule = Schedule::new(frequency, MAX_GRACE_S).unwrap();
                assert_eq!(schedule.fresh_until(from), end);
            }
        }
    }

    #[test]
    fn a_figure_dated_in_the_future_counts_from_the_run() {
        let run = at("2026-05-01T00:00:00Z");
        assert_eq!(measured_at(Some(at("2099-01-01T00:00:00Z")), run), run);
        assert_eq!(
            measured_at(Some(at("2026-04-01T00:00:00Z")), run),
            at("2026-04-01T00:00:00Z")
        );
        assert_eq!(measured_at(None, run), run);
    }

    #[test]
    fn a_schedule_has_one_wire_form_and_a_bounded_grace() {
        let schedule: Schedule = serde_json::from_str(r#"{"frequency":"weekly"}"#).unwrap();
        insta::assert_snapshot!(serde_json::to_string(&schedule).unwrap(), @r#"{"frequency":"weekly","grace_s":0}"#);
        let error = Schedule::new(Frequency::Daily, MAX_GRACE_S + 1).unwrap_err();
        insta::assert_snapshot!(error, @"grace_s is 31622401; at most 31622400 (366 days) is allowed");
    }

    proptest! {
        #[test]
        fn a_later_measurement_is_never_fresh_for_less_long(a in 0i64..4_000_000_000, b in 0i64..4_000_000_000, grace_s in 0..=MAX_GRACE_S) {
            let (early, late) = (a.min(b), a.max(b));
            for frequency in [Frequency::Hourly, Frequency::Daily, Frequency::Weekly, Frequency::Monthly, Frequency::Quarterly] {
                let schedule = Schedule::new(frequency, grace_s).unwrap();
                let until = |seconds| schedule.fresh_until(DateTime::from_timestamp(seconds, 0).unwrap().into());
                prop_assert!(until(early) <= until(late));
                prop_assert!(until(early).as_datetime().timestamp() > early);
            }
        }
    }
}
