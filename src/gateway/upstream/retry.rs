//! When a provider is asked again, and after how long.
//!
//! Only faults before any content are retried, within a number of attempts and a budget of waiting. A provider's
//! own `retry-after` is honoured; one that does not fit the budget ends the attempts at once, and is passed on to
//! the caller instead of being waited for in vain.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::HeaderMap;

/// First pause; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause of our own making.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The limits of asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLimits {
    /// Requests in all, the first included.
    pub attempts: u16,
    /// Time that may be spent on failed attempts and pauses.
    pub budget: Duration,
}

impl RetryLimits {
    /// The pause before the next attempt; `None` when there is to be none. `spent` is the time since the first
    /// request, `chance` a uniform number that spreads callers who failed together.
    #[must_use]
    pub fn pause(
        &self,
        attempt: u16,
        asked: Option<Duration>,
        spent: Duration,
        chance: u64,
    ) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let pause = asked.unwrap_or_else(|| {
            let longest = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << u32::from(attempt - 1).min(8)));
            // Between half of it and all of it.
            longest / 2 + longest / 2 * u32::try_from(chance % 1024).unwrap_or(0) / 1024
        });
        (spent + pause <= self.budget).then_some(pause)
    }
}

/// What a provider asks for: `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110 §10.2.3).
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let value = text("retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    // A date that has passed means: now.
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RetryLimits = RetryLimits {
        attempts: 3,
        budget: Duration::from_secs(10),
    };

    fn asked(name: &'static str, value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        retry_after(&headers, "1994-11-06T08:49:07Z".parse().unwrap())
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        assert_eq!(asked("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(asked("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(
            asked("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            asked("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(asked("retry-after", "soon"), None);
    }

    #[test]
    fn attempts_and_budget_end_it() {
        let second = Duration::from_secs(1);
        assert_eq!(LIMITS.pause(1, Some(second), Duration::ZERO, 0), Some(second));
        assert_eq!(LIMITS.pause(3, Some(second), Duration::ZERO, 0), None);
        assert_eq!(LIMITS.pause(1, Some(second * 11), Duration::ZERO, 0), None);
        assert_eq!(LIMITS.pause(1, Some(second), second * 10, 0), None);
    }

    proptest! {
        #[test]
        fn our_own_pauses_are_spread_and_bounded(attempt in 1u16..40, chance: u64) {
            let limits = RetryLimits { attempts: 100, budget: Duration::from_secs(100) };
            let pause = limits.pause(attempt, None, Duration::ZERO, chance).unwrap();
            prop_assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE);
        }
    }
}
