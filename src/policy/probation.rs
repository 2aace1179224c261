//! Which policies are not evaluated for the time being, because they cost their neighbours too much.
//!
//! Threads are shared by all tenants. A policy that runs to its time limit again and again could keep them all busy;
//! so after some such runs in a row it is denied without evaluation for a while, and then tried again. One that got
//! a thread stuck is not tried again by this process. A pure state: the clock is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use counterfoil_events::ids::DocumentDigest;

/// Runs to the time limit in a row before a policy has to wait. A busy machine may cause one, hardly three.
const STRIKES_MAX: u32 = 3;
/// How long it waits. Three runs of 250 ms each ten seconds are 4 % of two threads.
const WAIT: Duration = Duration::from_secs(10);

/// The policies under suspicion; empty as long as all behave.
#[derive(Debug, Default)]
pub(super) struct Probation {
    endless: BTreeSet<DocumentDigest>,
    strikes: BTreeMap<DocumentDigest, Strikes>,
}

#[derive(Debug)]
struct Strikes {
    count: u32,
    last: Instant,
}

impl Probation {
    /// Whether the policy is denied without evaluation.
    pub(super) fn bars(&self, policy: DocumentDigest, now: Instant) -> bool {
        let waits = |strikes: &Strikes| strikes.count >= STRIKES_MAX && now < strikes.last + WAIT;
        self.endless.contains(&policy) || self.strikes.get(&policy).is_some_and(waits)
    }

    /// Notes an evaluation, and whether it ran to its time limit.
    pub(super) fn note(&mut self, policy: DocumentDigest, timed_out: bool, now: Instant) {
        if !timed_out {
            self.strikes.remove(&policy);
            return;
        }
        let strikes = self
            .strikes
            .entry(policy)
            .or_insert(Strikes { count: 0, last: now });
        strikes.count = strikes.count.saturating_add(1);
        strikes.last = now;
    }

    /// Notes that the policy got a thread stuck.
    pub(super) fn note_endless(&mut self, policy: DocumentDigest) {
        self.endless.insert(policy);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const SLOW: DocumentDigest = DocumentDigest([1; 32]);
    const OTHER: DocumentDigest = DocumentDigest([2; 32]);

    fn with_strikes(count: u32, now: Instant) -> Probation {
        let mut probation = Probation::default();
        (0..count).for_each(|_| probation.note(SLOW, true, now));
        probation
    }

    #[test]
    fn a_policy_waits_after_three_runs_to_the_limit_and_its_neighbours_do_not() {
        let now = Instant::now();
        assert!(!with_strikes(2, now).bars(SLOW, now));
        let probation = with_strikes(3, now);
        assert!(probation.bars(SLOW, now));
        assert!(!probation.bars(OTHER, now));
    }

    #[test]
    fn after_the_wait_it_is_tried_and_waits_again_at_once_if_it_has_not_changed() {
        let now = Instant::now();
        let mut probation = with_strikes(3, now);
        let later = now + WAIT;
        assert!(!probation.bars(SLOW, later));
        probation.note(SLOW, true, later);
        assert!(probation.bars(SLOW, later));
    }

    #[test]
    fn one_run_in_time_clears_it() {
        let now = Instant::now();
        let mut probation = with_strikes(2, now);
        probation.note(SLOW, false, now);
        probation.note(SLOW, true, now);
        assert!(!probation.bars(SLOW, now));
    }

    #[test]
    fn one_that_got_a_thread_stuck_stays_barred() {
        let now = Instant::now();
        let mut probation = Probation::default();
        probation.note_endless(SLOW);
        assert!(probation.bars(SLOW, now + WAIT * 1_000));
    }
}
