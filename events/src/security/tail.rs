//! The task that keeps the security state at the head of Postgres.
//!
//! 1. Whenever the heads were scanned, read what is new in the logs that moved, fold it, and note when the scan
//!    began: everything committed before that is known now. The first time reads everything.
//! 2. A commit notice of this process does the same for its tenant at once; notices that come within a few
//!    milliseconds are taken together.
//! 3. Postgres away: the state ages, and says so; try again with the next scan.
//! 4. An event that this build cannot fold ends the tail for good; the state denies from then on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::PgPool;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backbone::{Heads, HeadsReader, Heartbeat};
use crate::ids::{Position, SubjectLinkId, TenantId};
use crate::ledger::{Committed, Database, LogReader};
use crate::security::SecurityState;
use crate::security::directory::{Activation, Change, decode};
use crate::security::feed::{
    FeedError, Range, TENANTS_PER_READ, check_kinds, read_after, read_first, read_subjects,
};
use crate::user::UserEvent;

/// Notices are gathered for so long: a busy process commits hundreds of times a second, and most commits have no say.
const GATHER: Duration = Duration::from_millis(10);

/// Links whose rows are read by one statement.
const LINKS_PER_READ: usize = 500;

/// What the tail reads.
pub struct TailParts {
    /// The log.
    pub database: Database,
    /// Scans of the heads.
    pub heads: HeadsReader,
    /// Commits of this process; none in one that commits nothing.
    pub notices: Option<broadcast::Receiver<Committed>>,
}

/// The running task.
pub struct SecurityTail {
    stop: CancellationToken,
    task: JoinHandle<()>,
    heartbeat: Heartbeat,
}

impl SecurityTail {
    /// Starts to keep `state` at the head.
    #[must_use]
    pub fn start(state: SecurityState, parts: TailParts) -> Self {
        let stop = CancellationToken::new();
        let heartbeat = Heartbeat::new("security");
        let (until, beat) = (stop.clone(), heartbeat.clone());
        let task = tokio::spawn(async move {
            until.run_until_cancelled(run(state, parts, beat)).await;
        });
        Self {
            stop,
            task,
            heartbeat,
        }
    }

    /// Its heartbeat.
    #[must_use]
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the tail of the security state ended badly");
        }
    }
}

struct Tail {
    state: SecurityState,
    pool: PgPool,
    log: LogReader,
    cursors: HashMap<TenantId, Position>,
}

async fn run(state: SecurityState, parts: TailParts, heartbeat: Heartbeat) {
    let pool = parts.database.log().clone();
    let (mut heads, mut notices) = (parts.heads, parts.notices);
    let mut tail = Tail {
        state,
        log: LogReader::new(pool.clone()),
        pool,
        cursors: HashMap::new(),
    };
    // A scan that was made before we began will do for a start.
    let mut scan = heads.latest();
    loop {
        heartbeat.beat();
        let result = match scan.take() {
            Some(heads) => tail.take_scan(&heads).await,
            None => tokio::select! {
                latest = heads.next() => tail.take_scan(&latest).await,
                notice = next_notice(&mut notices) => match notice {
                    Some(first) => {
                        tokio::time::sleep(GATHER).await;
                        tail.take_notices(first, notices.as_mut()).await
                    }
                    None => {
                        heads.scan_now();
                        Ok(())
                    }
                },
            },
        };
        match result {
            Ok(()) => {}
            Err(FeedError::Postgres(error)) => {
                tracing::warn!(%error, "the security state cannot be brought up to date");
            }
            Err(FeedError::Fold(error)) => {
                tracing::error!(%error, "the security state has stopped: everything is denied");
                return tail.state.clock.stop(error.to_string());
            }
        }
        let age = tail.state.clock.age().unwrap_or(Duration::ZERO);
        metrics::gauge!("counterfoil_security_age_seconds").set(age.as_secs_f64());
    }
}

/// The next commit of this process; none when some were missed. Never, in a process that commits nothing.
async fn next_notice(notices: &mut Option<broadcast::Receiver<Committed>>) -> Option<Committed> {
    let Some(receiver) = notices else {
        return std::future::pending().await;
    };
    match receiver.recv().await {
        Ok(notice) => Some(notice),
        Err(RecvError::Lagged(_)) => None,
        Err(RecvError::Closed) => {
            *notices = None;
            std::future::pending().await
        }
    }
}

impl Tail {
    async fn take_scan(&mut self, heads: &Arc<Heads>) -> Result<(), FeedError> {
        let ends = heads
            .by_tenant
            .values()
            .map(|head| (head.tenant, head.head.position));
        self.advance(ends.collect()).await?;
        self.state.clock.stood_at_the_head(heads.read_at);
        Ok(())
    }

    async fn take_notices(
        &mut self,
        first: Committed,
        mut more: Option<&mut broadcast::Receiver<Committed>>,
    ) -> Result<(), FeedError> {
        let mut ends = HashMap::from([(first.tenant, first.position)]);
        // One that was missed is found by the next scan.
        while let Some(Ok(notice)) = more.as_deref_mut().map(broadcast::Receiver::try_recv) {
            let end = ends.entry(notice.tenant).or_default();
            *end = notice.position.max(*end);
        }
        self.advance(ends).await
    }

    /// Reads and folds every log up to its end.
    async fn advance(&mut self, ends: HashMap<TenantId, Position>) -> Result<(), FeedError> {
        let behind = ends.into_iter().filter_map(|(tenant, until)| {
            let after = self.cursors.get(&tenant).copied().unwrap_or_default();
            (after < until).then_some(Range { tenant, after, until })
        });
        let (new, known): (Vec<Range>, Vec<Range>) = behind.partition(|range| range.after == Position::ZERO);
        for ranges in new.chunks(TENANTS_PER_READ) {
            check_kinds(&self.pool, ranges).await?;
            self.fold(read_first(&self.pool.clone(), ranges), ranges).await?;
        }
        for ranges in known.chunks(TENANTS_PER_READ) {
            self.fold(read_after(&self.pool.clone(), ranges), ranges).await?;
        }
        Ok(())
    }

    /// Folds events, then brings what lies beside them: the sources of the policies that began to decide, and the rows
    /// of the subjects that were linked. The cursors move last: whatever fails before is done again, and folding an event
    /// again changes nothing.
    async fn fold(
        &mut self,
        mut events: futures::stream::BoxStream<'_, Result<crate::ledger::StoredEvent, sqlx::Error>>,
        ranges: &[Range],
    ) -> Result<(), FeedError> {
        let mut activations = HashMap::new();
        let mut links = Vec::new();
        while let Some(event) = events.try_next().await? {
            let change = decode(&event)?;
            links.extend(linked(&change));
            if let Some(activation) = self.state.write().apply(event.recorded.tenant, change) {
                let layer = activation.reference.layer;
                activations.insert((activation.tenant, layer), activation);
            }
        }
        drop(events);
        for activation in activations.into_values() {
            self.activate(activation).await?;
        }
        for links in links.chunks(LINKS_PER_READ) {
            self.bring_subjects(links).await?;
        }
        self.cursors
            .extend(ranges.iter().map(|range| (range.tenant, range.until)));
        Ok(())
    }

    async fn bring_subjects(&self, links: &[(TenantId, SubjectLinkId)]) -> Result<(), sqlx::Error> {
        for row in read_subjects(&self.pool, links).await? {
            let brought = self.state.write().users.subjects.bring(&row);
            if let Err(reason) = brought {
                tracing::error!(link = %row.link, ?reason, "a subject's row is not what the log says: nobody signs in by it");
            }
        }
        Ok(())
    }

    async fn activate(&self, activation: Activation) -> Result<(), sqlx::Error> {
        let Activation { tenant, reference } = activation;
        let source = self.log.document(tenant, reference.digest).await?;
        if source.is_none() {
            tracing::error!(%tenant, ?reference, "the source of an active policy is missing: its layer denies");
        }
        let source = source.as_ref().map(crate::document::Document::body);
        self.state.write().activate(activation, source);
        Ok(())
    }
}

/// The link that a change tells of, and where its row lies.
fn linked(change: &Change) -> Option<(TenantId, SubjectLinkId)> {
    match change {
        Change::User(_, UserEvent::SubjectLinked { link, home, .. }) => Some((*home, *link)),
        _ => None,
    }
}
