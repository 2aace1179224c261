//! KRIs that measure the platform itself: what they count, over which window, and how a count becomes a value.
//!
//! The reading of the counts is someone else's work; this module fixes what is asked for and what follows from
//! the answer. A share of nothing is not zero: a window without completions yields no value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::aggregates::PositionVector;
use super::exact::Exact;
use super::value::{KriValue, ValueError};

/// Longest window: a year of hours and a day for the leap year.
pub const MAX_WINDOW_S: u32 = 366 * 24 * 60 * 60;

/// Shortest window: shorter ones mostly hold nothing.
pub const MIN_WINDOW_S: u32 = 60;

/// What is measured over the completions in the window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LedgerMetric {
    /// Denied completions by all that were decided, 0 to 1.
    DeniedShare,
    /// Failed completions by all that were decided, 0 to 1.
    FailedShare,
    /// How many completions were decided.
    Completions,
}

/// A measurement of the tenant's own log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawLedgerSource", into = "RawLedgerSource")]
pub struct LedgerSource {
    metric: LedgerMetric,
    window_s: u32,
    agent_id: Option<Uuid>,
}

/// A window outside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "window_s is {window_s}; it must lie between {MIN_WINDOW_S} (a minute) and {MAX_WINDOW_S} (366 days)"
)]
pub struct WindowOutOfRange {
    /// What was asked for, in seconds.
    pub window_s: u32,
}

impl LedgerSource {
    /// Measures `metric` over the `window_s` seconds before each run, for one agent or for all.
    ///
    /// # Errors
    /// When the window is outside [`MIN_WINDOW_S`] to [`MAX_WINDOW_S`].
    pub fn new(
        metric: LedgerMetric,
        window_s: u32,
        agent_id: Option<Uuid>,
    ) -> Result<Self, WindowOutOfRange> {
        if !(MIN_WINDOW_S..=MAX_WINDOW_S).contains(&window_s) {
            return Err(WindowOutOfRange { window_s });
        }
        Ok(Self {
            metric,
            window_s,
            agent_id,
        })
    }

    /// What is measured.
    #[must_use]
    pub fn metric(&self) -> LedgerMetric {
        self.metric
    }

    /// Over how many seconds before the run.
    #[must_use]
    pub fn window_s(&self) -> u32 {
        self.window_s
    }

    /// The only agent that counts, or all.
    #[must_use]
    pub fn agent_id(&self) -> Option<Uuid> {
        self.agent_id
    }
}

/// Completions in a window, each counted once by how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionCounts {
    /// All that were decided: allowed or denied.
    pub total: u64,
    /// Those that were denied.
    pub denied: u64,
    /// Those that were allowed and then failed.
    pub failed: u64,
}

/// Counts and the logs' positions up to which they were counted: whoever reads the same logs up to the same
/// positions finds the same counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerReading {
    /// What was counted.
    pub counts: CompletionCounts,
    /// The position vector: the last position read of each log.
    pub positions: PositionVector,
}

/// Counts that do not make a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// A share of nothing.
    #[error("no completions in the window: a share of none has no value; widen window_s or wait for traffic")]
    NoTotal,
    /// More parts than the whole.
    #[error("{denied} denied and {failed} failed completions are more than all {total}")]
    PartsExceedTotal {
        /// Denied ones.
        denied: u64,
        /// Failed ones.
        failed: u64,
        /// All.
        total: u64,
    },
    /// A quotient out of range. Shares lie between 0 and 1, so this cannot happen to them.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl CompletionCounts {
    /// The value of `metric`. Shares are rounded half to even to twelve digits.
    ///
    /// # Errors
    /// When there is nothing to take a share of, or the counts contradict each other.
    pub fn measure(&self, metric: LedgerMetric) -> Result<KriValue, CountError> {
        if self
            .denied
            .checked_add(self.failed)
            .is_none_or(|parts| parts > self.total)
        {
            return Err(CountError::PartsExceedTotal {
                denied: self.denied,
                failed: self.failed,
                total: self.total,
            });
        }
        match metric {
            LedgerMetric::DeniedShare => self.share(self.denied),
            LedgerMetric::FailedShare => self.share(self.failed),
            LedgerMetric::Completions => Ok(self.total.into()),
        }
    }

    fn share(&self, part: u64) -> Result<KriValue, CountError> {
        let quotient = Exact::from(part).quotient(u128::from(self.total));
        Ok(quotient.ok_or(CountError::NoTotal)??)
    }
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LedgerSource")]
struct RawLedgerSource {
    metric: LedgerMetric,
    #[schemars(range(min = MIN_WINDOW_S, max = MAX_WINDOW_S))]
    window_s: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent_id: Option<Uuid>,
}

impl TryFrom<RawLedgerSource> for LedgerSource {
    type Error = WindowOutOfRange;

    fn try_from(raw: RawLedgerSource) -> Result<Self, WindowOutOfRange> {
        Self::new(raw.metric, raw.window_s, raw.agent_id)
    }
}

impl From<LedgerSource> for RawLedgerSource {
    fn from(source: LedgerSource) -> Self {
        Self {
            metric: source.metric,
            window_s: source.window_s,
            agent_id: source.agent_id,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn counts(total: u64, denied: u64, failed: u64) -> CompletionCounts {
        CompletionCounts {
            total,
            denied,
            failed,
        }
    }

    #[test]
    fn a_share_is_exact_to_twelve_digits() {
        let counts = counts(300, 25, 1);
        let measure = |metric| counts.measure(metric).unwrap().to_string();
        assert_eq!(measure(LedgerMetric::DeniedShare), "0.083333333333");
        assert_eq!(measure(LedgerMetric::FailedShare), "0.003333333333");
        assert_eq!(measure(LedgerMetric::Completions), "300");
    }

    #[test]
    fn a_share_of_nothing_has_no_value_but_a_count_of_nothing_is_zero() {
        let none = counts(0, 0, 0);
        assert_eq!(none.measure(LedgerMetric::DeniedShare), Err(CountError::NoTotal));
        assert_eq!(none.measure(LedgerMetric::Completions), Ok(KriValue::ZERO));
    }

    #[test]
    fn counts_that_contradict_each_other_are_refused() {
        for (total, denied, failed) in [(1, 2, 0), (3, 2, 2), (u64::MAX, u64::MAX, 1)] {
            let error = counts(total, denied, failed)
                .measure(LedgerMetric::DeniedShare)
                .unwrap_err();
            assert_eq!(
                error,
                CountError::PartsExceedTotal {
                    denied,
                    failed,
                    total
                }
            );
        }
    }

    #[test]
    fn a_window_is_bounded_on_both_sides() {
        for window_s in [0, MIN_WINDOW_S - 1, MAX_WINDOW_S + 1] {
            let error = LedgerSource::new(LedgerMetric::DeniedShare, window_s, None).unwrap_err();
            assert_eq!(error, WindowOutOfRange { window_s });
        }
    }

    proptest! {
        #[test]
        fn a_share_lies_between_zero_and_one_and_grows_with_its_part(total in 1u64.., a: u64, b: u64) {
            let (low, high) = ((a % total).min(b % total), (a % total).max(b % total));
            let share = |denied| counts(total, denied, 0).measure(LedgerMetric::DeniedShare).unwrap();
            prop_assert!(KriValue::ZERO <= share(low));
            prop_assert!(share(low) <= share(high));
            prop_assert!(share(high) <= KriValue::from(1u32));
        }
    }
}
