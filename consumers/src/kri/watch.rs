//! Which runs are open: the log's KRI runs, folded as they come.
//!
//! A run whose step failed waits, longer each time, and those that were tried longest ago come first: a tenant that takes
//! no events does not keep the others' runs waiting. Nor does one whose log holds an event that cannot be read: it is
//! followed up to there, and looked at again after a while. A log that was set back is followed anew from its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use counterfoil_events::backbone::{HeadsReader, SeenHeads};
use counterfoil_events::background::Heartbeat;
use counterfoil_events::command::{LoadError, decode_stored};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::kri::aggregates::run::{KriRun, KriRunEvent};
use counterfoil_events::ledger::{ChainHead, LogReader, StoredEvent};
use counterfoil_events::timestamp::Timestamp;

/// Events read at once.
const PAGE: i64 = 500;

/// How long a run waits after its first failed step; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// When a log that cannot be read is looked at again.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(10);

/// A run that somebody may carry out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpenRun {
    pub(super) tenant: TenantId,
    pub(super) id: String,
}

/// How a run of ours ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is over, or another's.
    Settled,
    /// A step could not be taken.
    Failed,
}

/// What is known of an open run.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    /// The end of the lease that somebody holds.
    lease: Option<Timestamp>,
    /// Steps that failed here, one after the other.
    failures: u32,
    /// Not due before; by Postgres's clock.
    not_before: Option<Timestamp>,
    /// Which of all our attempts was the last one at it; zero for none.
    tried: u64,
}

/// The open runs, and which of them are due. Pure.
#[derive(Default)]
struct Runs {
    open: BTreeMap<OpenRun, Waiting>,
    ours: BTreeSet<OpenRun>,
    attempts: u64,
}

impl Runs {
    fn take(&mut self, run: OpenRun, event: &KriRunEvent) {
        match event {
            KriRunEvent::KriRunRequested { .. } => {
                self.open.insert(run, Waiting::default());
            }
            KriRunEvent::KriRunStarted { lease_until, .. } => {
                self.open.entry(run).or_default().lease = Some(*lease_until);
            }
            KriRunEvent::KriRunCompleted { .. } | KriRunEvent::KriRunFailed { .. } => {
                self.open.remove(&run);
            }
        }
    }

    /// Forgets a tenant's runs. One of ours that is under way ends by itself.
    fn forget(&mut self, tenant: TenantId) {
        self.open.retain(|run, _| run.tenant != tenant);
    }

    fn due(&mut self, room: usize, now: Timestamp) -> Vec<OpenRun> {
        let is_past = |time: Option<Timestamp>| time.is_none_or(|time| time < now);
        let mut free: Vec<(u64, &OpenRun)> = self
            .open
            .iter()
            .filter(|(run, waiting)| {
                is_past(waiting.lease) && is_past(waiting.not_before) && !self.ours.contains(run)
            })
            .map(|(run, waiting)| (waiting.tried, run))
            .collect();
        free.sort_unstable();
        let due: Vec<OpenRun> = free.into_iter().take(room).map(|(_, run)| run.clone()).collect();
        for run in &due {
            self.attempts += 1;
            if let Some(waiting) = self.open.get_mut(run) {
                waiting.tried = self.attempts;
            }
        }
        self.ours.extend(due.iter().cloned());
        due
    }

    fn ended(&mut self, run: &OpenRun, ending: Ending, now: Timestamp) {
        self.ours.remove(run);
        // One that is over may still be open here, until the log has been read so far.
        if let Some(waiting) = self.open.get_mut(run) {
            waiting.failures = match ending {
                Ending::Settled => 0,
                Ending::Failed => waiting.failures.saturating_add(1),
            };
            waiting.not_before = now.checked_add(pause(waiting.failures));
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
}

/// Follows the KRI runs of all logs.
pub(super) struct RunWatch {
    reader: LogReader,
    heads: HeadsReader,
    cursors: BTreeMap<TenantId, Position>,
    /// The heads at the last look.
    seen: SeenHeads,
    runs: Runs,
    /// Logs with an event that cannot be read, and when they are looked at again.
    unreadable: BTreeMap<TenantId, Instant>,
    /// Postgres's clock at the last look that found open runs: leases are measured by no other.
    now: Timestamp,
    heartbeat: Heartbeat,
}

impl RunWatch {
    pub(super) fn new(reader: LogReader, heads: HeadsReader, heartbeat: Heartbeat) -> Self {
        Self {
            reader,
            heads,
            cursors: BTreeMap::new(),
            seen: SeenHeads::default(),
            runs: Runs::default(),
            unreadable: BTreeMap::new(),
            now: Timestamp::EPOCH,
            heartbeat,
        }
    }

    /// Reads what has been committed before this call.
    ///
    /// # Errors
    /// When Postgres does not answer. A log that cannot be read is no error: the others are followed on.
    pub(super) async fn advance(&mut self) -> Result<(), LoadError> {
        // First, so that leases and pauses end whatever the logs hold.
        let had_open = !self.runs.open.is_empty();
        if had_open {
            self.now = self.reader.now().await?;
        }
        // With Postgres away there is no scan, and the loop is none the worse.
        let heads = self.heartbeat.during(self.heads.fresh()).await;
        for tenant in self.seen.rewound(&self.reader, &heads).await? {
            self.begin_anew(tenant);
        }
        for head in heads.by_tenant.values() {
            let tenant = head.tenant;
            if self
                .unreadable
                .get(&tenant)
                .is_some_and(|until| Instant::now() < *until)
            {
                continue;
            }
            match self.follow(head).await {
                Ok(()) => drop(self.unreadable.remove(&tenant)),
                Err(error @ LoadError::Postgres(_)) => return Err(error),
                Err(error) => {
                    let at = self.cursors.get(&tenant).copied().unwrap_or_default();
                    tracing::error!(
                        %tenant, after = %at, %error,
                        "an event of a KRI run cannot be read; no later runs of this tenant are carried out"
                    );
                    self.unreadable.insert(tenant, Instant::now() + UNREADABLE_PAUSE);
                }
            }
        }
        self.seen.note(&heads);
        if !had_open && !self.runs.open.is_empty() {
            self.now = self.reader.now().await?;
        }
        Ok(())
    }

    /// Its log ends before what was read of it, or goes on differently.
    fn begin_anew(&mut self, tenant: TenantId) {
        tracing::warn!(%tenant, "a log was set back; its KRI runs are read again");
        self.cursors.remove(&tenant);
        self.unreadable.remove(&tenant);
        self.runs.forget(tenant);
    }

    /// Reads one log up to its head; the cursor stands behind the last event that could be read.
    async fn follow(&mut self, head: &ChainHead) -> Result<(), LoadError> {
        let (tenant, until) = (head.tenant, head.head.position);
        // The scan began after everything that was read: it may not show less.
        if self.cursors.get(&tenant).is_some_and(|cursor| *cursor > until) {
            self.begin_anew(tenant);
        }
        let mut at = self.cursors.get(&tenant).copied().unwrap_or_default();
        while at < until {
            self.heartbeat.beat();
            let page = self.reader.kri_runs(tenant, at, until, PAGE).await?;
            for event in &page {
                self.fold(event)?;
                self.cursors.insert(tenant, event.recorded.position);
            }
            at = match page.last() {
                Some(last) if i64::try_from(page.len()).is_ok_and(|len| len == PAGE) => {
                    last.recorded.position
                }
                _ => until,
            };
            self.cursors.insert(tenant, at);
        }
        Ok(())
    }

    fn fold(&mut self, event: &StoredEvent) -> Result<(), LoadError> {
        let run = OpenRun {
            tenant: event.recorded.tenant,
            id: event.aggregate_id.clone(),
        };
        self.runs.take(run, &decode_stored::<KriRun>(event)?);
        Ok(())
    }

    /// At most `room` open runs that nobody holds; they are ours until [`Self::ended`].
    pub(super) fn due(&mut self, room: usize) -> Vec<OpenRun> {
        self.runs.due(room, self.now)
    }

    /// One of ours has ended; none if its task died, and then all are looked at again.
    pub(super) fn ended(&mut self, ended: Option<(OpenRun, Ending)>) {
        match ended {
            Some((run, ending)) => self.runs.ended(&run, ending, self.now),
            None => self.runs.ours.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn run(tenant: u128, id: &str) -> OpenRun {
        OpenRun {
            tenant: TenantId(uuid::Uuid::from_u128(tenant)),
            id: id.to_owned(),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH
            .checked_add(Duration::from_secs(seconds))
            .unwrap()
    }

    fn open(runs: &[&OpenRun]) -> Runs {
        let mut open = Runs::default();
        for run in runs {
            open.open.insert((*run).clone(), Waiting::default());
        }
        open
    }

    #[test]
    fn a_run_whose_step_failed_waits_longer_each_time_and_lets_others_go_first() {
        let (stuck, other) = (run(1, "a"), run(2, "b"));
        let mut runs = open(&[&stuck, &other]);
        assert_eq!(runs.due(1, at(10)), std::slice::from_ref(&stuck));
        runs.ended(&stuck, Ending::Failed, at(10));
        assert_eq!(
            runs.due(1, at(10)),
            std::slice::from_ref(&other),
            "the other's turn"
        );
        runs.ended(&other, Ending::Failed, at(10));
        assert_eq!(runs.due(2, at(11)), [], "both wait");
        assert_eq!(
            runs.due(1, at(12)),
            std::slice::from_ref(&stuck),
            "tried longest ago"
        );
        runs.ended(&stuck, Ending::Failed, at(12));
        assert_eq!(runs.due(2, at(13)), [other]);
        assert_eq!(runs.due(2, at(14)), []);
        assert_eq!(runs.due(2, at(15)), [stuck]);
    }

    #[test]
    fn the_runs_of_a_log_that_was_set_back_are_forgotten_and_no_others() {
        let (gone, other) = (run(1, "a"), run(2, "b"));
        let mut runs = open(&[&gone, &other]);
        runs.forget(gone.tenant);
        assert_eq!(runs.due(5, at(10)), [other]);
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        assert_eq!((pause(0), pause(1)), (FIRST_PAUSE, FIRST_PAUSE));
        assert_eq!(pause(4), FIRST_PAUSE * 8);
        assert_eq!((pause(30), pause(u32::MAX)), (LONGEST_PAUSE, LONGEST_PAUSE));
    }

    #[test]
    fn a_run_that_is_ours_or_held_is_not_due() {
        let (ours, held) = (run(1, "a"), run(1, "b"));
        let mut runs = open(&[&ours, &held]);
        runs.open.get_mut(&held).unwrap().lease = Some(at(60));
        assert_eq!(runs.due(5, at(10)), [ours]);
        assert_eq!(runs.due(5, at(10)), []);
        assert_eq!(runs.due(5, at(61)), [held]);
    }
}
