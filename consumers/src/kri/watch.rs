//! Which runs are open: the log's KRI runs, folded as they come.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_events::backbone::HeadsReader;
use counterfoil_events::command::{LoadError, decode_stored};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::kri::aggregates::run::{KriRun, KriRunEvent};
use counterfoil_events::ledger::{LogReader, StoredEvent};
use counterfoil_events::timestamp::Timestamp;

/// Events read at once.
const PAGE: i64 = 500;

/// A run that somebody may carry out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpenRun {
    pub(super) tenant: TenantId,
    pub(super) id: String,
}

/// Follows the KRI runs of all logs.
pub(super) struct RunWatch {
    reader: LogReader,
    heads: HeadsReader,
    cursors: BTreeMap<TenantId, Position>,
    /// Open runs, with the end of the lease that somebody holds.
    open: BTreeMap<OpenRun, Option<Timestamp>>,
    ours: BTreeSet<OpenRun>,
    /// Postgres's clock at the last look that found open runs: leases are measured by no other.
    now: Timestamp,
}

impl RunWatch {
    pub(super) fn new(reader: LogReader, heads: HeadsReader) -> Self {
        let (cursors, open, ours) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self {
            reader,
            heads,
            cursors,
            open,
            ours,
            now: Timestamp::EPOCH,
        }
    }

    /// Reads what has been committed before this call.
    pub(super) async fn advance(&mut self) -> Result<(), LoadError> {
        let heads = self.heads.fresh().await;
        for head in heads.by_tenant.values() {
            let until = head.head.position;
            let mut at = self.cursors.get(&head.tenant).copied().unwrap_or_default();
            while at < until {
                let page = self.reader.kri_runs(head.tenant, at, until, PAGE).await?;
                for event in &page {
                    self.fold(event)?;
                }
                at = match page.last() {
                    Some(last) if i64::try_from(page.len()).is_ok_and(|len| len == PAGE) => {
                        last.recorded.position
                    }
                    _ => until,
                };
                self.cursors.insert(head.tenant, at);
            }
        }
        if !self.open.is_empty() {
            self.now = self.reader.now().await?;
        }
        Ok(())
    }

    fn fold(&mut self, event: &StoredEvent) -> Result<(), LoadError> {
        let run = OpenRun {
            tenant: event.recorded.tenant,
            id: event.aggregate_id.clone(),
        };
        match decode_stored::<KriRun>(event)? {
            KriRunEvent::KriRunRequested { .. } => {
                self.open.insert(run, None);
            }
            KriRunEvent::KriRunStarted { lease_until, .. } => {
                self.open.insert(run, Some(lease_until));
            }
            KriRunEvent::KriRunCompleted { .. } | KriRunEvent::KriRunFailed { .. } => {
                self.open.remove(&run);
            }
        }
        Ok(())
    }

    /// At most `room` open runs that nobody holds; they are ours until [`Self::ended`].
    pub(super) fn due(&mut self, room: usize) -> Vec<OpenRun> {
        let free = |lease: &Option<Timestamp>| lease.is_none_or(|until| until < self.now);
        let due: Vec<OpenRun> = self
            .open
            .iter()
            .filter(|(run, lease)| free(lease) && !self.ours.contains(run))
            .map(|(run, _)| run.clone())
            .take(room)
            .collect();
        self.ours.extend(due.iter().cloned());
        due
    }

    /// One of ours has ended; none if its task died, and then all are looked at again.
    pub(super) fn ended(&mut self, run: Option<OpenRun>) {
        match run {
            Some(run) => {
                self.ours.remove(&run);
            }
            None => self.ours.clear(),
        }
    }
}
