//! How old the security state may be, and what that means.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Older than this it still answers, and `/ready` says that it is behind.
pub const DEGRADED_AFTER: Duration = Duration::from_secs(1);
/// Older than this everything is denied (503): a revocation might be missing.
pub const DENIED_AFTER: Duration = Duration::from_secs(5);

/// How much a lookup is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// It stood at the head within the last second.
    Fresh,
    /// It answers, from a state of this age.
    Degraded {
        /// How old.
        age: Duration,
    },
    /// Deny: it is too old, or has never stood at the head.
    Stale {
        /// How old; none before it stood at the head for the first time, or while it is built anew.
        age: Option<Duration>,
    },
    /// Deny: it met an event that this build does not know and will not go on.
    Stopped {
        /// What it met.
        reason: String,
    },
}

impl Freshness {
    /// Whether lookups may be answered.
    #[must_use]
    pub fn may_answer(&self) -> bool {
        matches!(self, Self::Fresh | Self::Degraded { .. })
    }

    fn of_age(age: Duration) -> Self {
        if age <= DEGRADED_AFTER {
            Self::Fresh
        } else if age <= DENIED_AFTER {
            Self::Degraded { age }
        } else {
            Self::Stale { age: Some(age) }
        }
    }
}

/// When the state last stood at the head, or why it never will again.
#[derive(Default)]
pub(super) struct Clock {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    stood_at: Option<Instant>,
    stopped: Option<String>,
}

impl Clock {
    /// Everything committed before `moment` is applied.
    pub(super) fn stood_at_the_head(&self, moment: Instant) {
        let mut known = self.lock();
        known.stood_at = known.stood_at.max(Some(moment));
    }

    /// What is applied is not what the log holds: deny until it has stood at the head again.
    pub(super) fn forget(&self) {
        self.lock().stood_at = None;
    }

    pub(super) fn stop(&self, reason: String) {
        self.lock().stopped = Some(reason);
    }

    pub(super) fn has_stood_at_the_head(&self) -> bool {
        let known = self.lock();
        known.stood_at.is_some() && known.stopped.is_none()
    }

    /// How long ago it stood at the head.
    pub(super) fn age(&self) -> Option<Duration> {
        self.lock().stood_at.map(|moment| moment.elapsed())
    }

    pub(super) fn freshness(&self) -> Freshness {
        let known = self.lock();
        match (&known.stopped, known.stood_at) {
            (Some(reason), _) => Freshness::Stopped {
                reason: reason.clone(),
            },
            (None, None) => Freshness::Stale { age: None },
            (None, Some(moment)) => Freshness::of_age(moment.elapsed()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // Two values, each written whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_denies_until_it_stood_at_the_head_and_when_it_is_too_old() {
        let clock = Clock::default();
        assert_eq!(clock.freshness(), Freshness::Stale { age: None });
        clock.stood_at_the_head(Instant::now());
        assert_eq!(clock.freshness(), Freshness::Fresh);
        assert!(matches!(
            Freshness::of_age(Duration::from_secs(2)),
            Freshness::Degraded { .. }
        ));
        assert!(Freshness::of_age(Duration::from_secs(5)).may_answer());
        assert!(!Freshness::of_age(Duration::from_millis(5_001)).may_answer());
    }

    #[test]
    fn an_earlier_moment_does_not_make_it_older() {
        let clock = Clock::default();
        let now = Instant::now();
        clock.stood_at_the_head(now);
        clock.stood_at_the_head(now - Duration::from_secs(60));
        assert_eq!(clock.freshness(), Freshness::Fresh);
    }

    #[test]
    fn one_that_is_built_anew_denies_until_it_stands_at_the_head_again() {
        let clock = Clock::default();
        clock.stood_at_the_head(Instant::now());
        clock.forget();
        assert_eq!(clock.freshness(), Freshness::Stale { age: None });
        assert!(!clock.has_stood_at_the_head());
        clock.stood_at_the_head(Instant::now());
        assert_eq!(clock.freshness(), Freshness::Fresh);
    }

    #[test]
    fn one_that_met_an_unknown_event_denies_for_good() {
        let clock = Clock::default();
        clock.stood_at_the_head(Instant::now());
        clock.stop("unknown event".to_owned());
        clock.stood_at_the_head(Instant::now());
        assert!(!clock.freshness().may_answer());
        assert!(!clock.has_stood_at_the_head());
    }
}
