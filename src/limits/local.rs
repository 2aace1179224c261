//! Requests counted in this process alone: what Redis counts while it is away, and what is not worth a round trip.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::gcra::{self, Rate, Verdict};
use super::memory::Expiring;

/// Counts requests per key, for a bounded number of keys.
pub struct LocalLimiter {
    memory: Mutex<Expiring<u64>>,
    started: Instant,
}

impl LocalLimiter {
    /// For at most so many keys; beyond it those are forgotten that would be free again first.
    #[must_use]
    pub fn new(entries_max: usize) -> Self {
        Self {
            memory: Mutex::new(Expiring::new(entries_max, usize::MAX)),
            started: Instant::now(),
        }
    }

    /// Counts one request of `key`.
    pub fn count(&self, key: &str, rate: Rate) -> Verdict {
        let keys = [(key, rate)];
        self.step(&keys).0.swap_remove(0)
    }

    /// Counts one request under all of these keys, or under none. One verdict for each; whether it passed.
    pub(super) fn step<K: AsRef<str>>(&self, keys: &[(K, Rate)]) -> (Vec<Verdict>, bool) {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Plain values: a panic elsewhere cannot leave them half changed.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let held: Vec<(Option<u64>, Rate)> = keys
            .iter()
            .map(|(key, rate)| (memory.get(key.as_ref(), now).copied(), *rate))
            .collect();
        let (verdicts, next) = gcra::step_all(&held, now);
        let passes = next.is_some();
        for ((key, _), next) in keys.iter().zip(next.unwrap_or_default()) {
            memory.put(key.as_ref(), next, 0, next, now);
        }
        (verdicts, passes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So slow that nothing becomes free while a test runs.
    fn slow(burst: u32) -> Rate {
        Rate::per_minute(1, burst)
    }

    #[test]
    fn a_request_that_one_key_refuses_is_counted_under_none() {
        let limiter = LocalLimiter::new(10);
        let both = [("wide", slow(3)), ("narrow", slow(1))];
        assert!(limiter.step(&both).1);
        for _ in 0..5 {
            let (verdicts, passed) = limiter.step(&both);
            assert!(!passed && verdicts[0].allowed && !verdicts[1].allowed);
        }
        assert_eq!(
            limiter.count("wide", slow(3)).remaining,
            1,
            "one was taken before, and this one"
        );
    }
}
