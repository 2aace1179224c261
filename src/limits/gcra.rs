//! The generic cell rate algorithm (ITU-T I.371), as a pure function over microseconds.
//!
//! One number per key is kept: the *theoretical arrival time*, when the key will have used nothing of its burst
//! again. `gcra.lua` is the same function inside Redis; a property runs both on the same arrivals.

use std::time::Duration;

const MINUTE_US: u64 = 60_000_000;

/// How many requests a key may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: u32,
    burst: u32,
}

impl Rate {
    /// `per_minute` in the long run, at most `burst` at once. Zero is taken as one.
    #[must_use]
    pub fn per_minute(per_minute: u32, burst: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            burst: burst.max(1),
        }
    }

    /// The sustained rate.
    #[must_use]
    pub fn requests_per_minute(self) -> u32 {
        self.per_minute
    }

    /// How many may come at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// The distance of two requests at the sustained rate.
    pub(super) fn interval_us(self) -> u64 {
        (MINUTE_US / u64::from(self.per_minute)).max(1)
    }

    fn burst_us(self) -> u64 {
        self.interval_us() * u64::from(self.burst)
    }
}

/// Whether a request may pass, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How many may come at once, at most.
    pub limit: u32,
    /// Whether it may pass.
    pub allowed: bool,
    /// How many more may come at once now.
    pub remaining: u32,
    /// When the next one may pass; zero if this one did.
    pub retry_after: Duration,
    /// When the whole burst is free again.
    pub reset_after: Duration,
}

/// One request at `now_us`, of a key whose arrival time is `held_us`. Gives the verdict and, if the request
/// passes, the new arrival time.
#[must_use]
pub fn step(held_us: Option<u64>, now_us: u64, rate: Rate) -> (Verdict, Option<u64>) {
    // A time beyond the burst was kept under another rate or another clock: it may not lock the key out.
    let held = held_us.unwrap_or(now_us).clamp(now_us, now_us + rate.burst_us());
    let next = held + rate.interval_us();
    let used = next - now_us;
    let verdict = |allowed, left_us: u64, retry_us, reset_us| Verdict {
        limit: rate.burst,
        allowed,
        remaining: u32::try_from(left_us / rate.interval_us()).unwrap_or(u32::MAX),
        retry_after: Duration::from_micros(retry_us),
        reset_after: Duration::from_micros(reset_us),
    };
    match rate.burst_us().checked_sub(used) {
        Some(left) => (verdict(true, left, 0, used), Some(next)),
        None => (verdict(false, 0, used - rate.burst_us(), held - now_us), None),
    }
}

/// One request at `now_us` under several keys, each with its arrival time and rate. It passes when it passes under
/// each of them, and only then are there new arrival times.
#[must_use]
pub fn step_all(keys: &[(Option<u64>, Rate)], now_us: u64) -> (Vec<Verdict>, Option<Vec<u64>>) {
    let steps = keys.iter().map(|(held, rate)| step(*held, now_us, *rate));
    let (verdicts, next): (Vec<_>, Vec<_>) = steps.unzip();
    (verdicts, next.into_iter().collect())
}

/// The verdict that decides: of refusals the one that lasts longest, else the one with the least left.
#[must_use]
pub fn tightest(verdicts: &[Verdict]) -> Option<Verdict> {
    let key = |verdict: &Verdict| {
        (
            !verdict.allowed,
            verdict.retry_after,
            u32::MAX - verdict.remaining,
        )
    };
    verdicts.iter().copied().max_by_key(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Lets requests arrive at these times; gives those that passed.
    fn passed(arrivals: &[u64], rate: Rate) -> Vec<u64> {
        let mut held = None;
        let mut passed = Vec::new();
        for now in arrivals {
            let (verdict, next) = step(held, *now, rate);
            if verdict.allowed {
                passed.push(*now);
                held = next;
            }
        }
        passed
    }

    fn arrivals() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0..2_000_000_u64, 1..200).prop_map(|gaps| {
            let mut now = 1_700_000_000_000_000;
            gaps.iter()
                .map(|gap| {
                    now += gap;
                    now
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn no_window_ever_passes_more_than_the_burst_and_the_rate(
            arrivals in arrivals(), per_minute in 1..2_000_u32, burst in 1..20_u32,
        ) {
            let rate = Rate::per_minute(per_minute, burst);
            let passed = passed(&arrivals, rate);
            for (i, from) in passed.iter().enumerate() {
                for (j, to) in passed.iter().enumerate().skip(i) {
                    let most = u64::from(burst) + (to - from) / rate.interval_us();
                    prop_assert!((j - i + 1) as u64 <= most);
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(per_minute in 1..2_000_u32, burst in 1..20_u32) {
            let rate = Rate::per_minute(per_minute, burst);
            let arrivals: Vec<u64> = (1..200).map(|n| n * rate.interval_us()).collect();
            prop_assert_eq!(passed(&arrivals, rate).len(), arrivals.len());
        }

        #[test]
        fn who_is_refused_passes_after_waiting_as_told_and_not_before(
            arrivals in arrivals(), per_minute in 1..200_u32, burst in 1..5_u32,
        ) {
            let rate = Rate::per_minute(per_minute, burst);
            let mut held = None;
            for now in arrivals {
                let (verdict, next) = step(held, now, rate);
                if verdict.allowed {
                    held = next;
                    continue;
                }
                let wait = u64::try_from(verdict.retry_after.as_micros()).unwrap();
                prop_assert!(step(held, now + wait, rate).0.allowed);
                prop_assert!(!step(held, now + wait - 1, rate).0.allowed);
            }
        }
    }

    #[test]
    fn what_remains_counts_down_to_the_refusal() {
        let rate = Rate::per_minute(60, 3);
        let mut held = None;
        let mut remaining = Vec::new();
        for _ in 0..4 {
            let (verdict, next) = step(held, 5, rate);
            held = next.or(held);
            remaining.push((verdict.allowed, verdict.remaining));
        }
        assert_eq!(remaining, [(true, 2), (true, 1), (true, 0), (false, 0)]);
    }

    #[test]
    fn a_time_far_ahead_does_not_lock_a_key_out() {
        let rate = Rate::per_minute(60, 3);
        let (verdict, _) = step(Some(u64::MAX / 2), 5, rate);
        assert!(!verdict.allowed);
        assert_eq!(verdict.retry_after, Duration::from_secs(1));
    }
}
