//! Postgres's time, without asking it each time: the scans of the heads bring it, and it goes on by a clock that no
//! operator sets.
//!
//! Keys and tokens expire by it in every process at one moment, whatever the processes' own clocks say. It is taken as
//! of the moment before Postgres was asked, so it is ahead by the time that an answer takes, and never behind: what
//! expires does so some milliseconds early.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::backbone::ServerTime;
use crate::timestamp::{Clock, SystemClock, Timestamp};

/// Postgres's clock as last seen.
#[derive(Debug, Default)]
pub(super) struct PostgresClock(Mutex<Option<ServerTime>>);

impl PostgresClock {
    pub(super) fn set(&self, seen: ServerTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    fn at(&self, moment: Instant) -> Option<Timestamp> {
        let seen = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        seen.time
            .checked_add(moment.saturating_duration_since(seen.asked))
    }
}

impl Clock for PostgresClock {
    /// By the process's own clock before the first scan, when nobody is let in.
    fn now(&self) -> Timestamp {
        self.at(Instant::now()).unwrap_or_else(|| SystemClock.now())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_goes_on_from_what_postgres_said_whatever_this_process_believes() {
        let clock = PostgresClock::default();
        let asked = Instant::now();
        assert_eq!(clock.at(asked), None);
        let time: Timestamp = "2031-01-01T00:00:00.000000Z".parse().unwrap();
        clock.set(ServerTime { time, asked });
        let later = Duration::from_secs(90);
        assert_eq!(clock.at(asked + later).unwrap(), time.checked_add(later).unwrap());
        assert!(clock.now() >= time, "five years from now");
        // Postgres's clock was set back, or another server took over.
        let earlier = time.checked_sub(Duration::from_secs(3600)).unwrap();
        clock.set(ServerTime { time: earlier, asked });
        assert_eq!(clock.at(asked).unwrap(), earlier);
    }
}
