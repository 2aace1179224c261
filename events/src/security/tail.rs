//! The task that keeps the security state at the head of Postgres.
//!
//! 1. Whenever the heads were scanned, read what is new in the logs that moved, fold it, and note when the scan
//!    began: everything committed before that is known now. The first time reads everything.
//! 2. A commit notice of this process does the same for its tenant at once; notices that come within a few
//!    milliseconds are taken together.
//! 3. Postgres away: the state ages, and says so; try again with the next scan.
//! 4. A log that does not continue what was read of it (restored to an earlier moment, a standby that lacked the last
//!    commits): forget everything, deny, and read anew.
//! 5. Damage in a tenant's log denies that tenant. In the platform's, and an event that this build does not know
//!    anywhere, it ends the tail for good; the state denies from then on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::backbone::{Heads, HeadsReader, SeenHeads};
use crate::background::{Background, Heartbeat};
use crate::ids::{Position, SubjectLinkId, TenantId};
use crate::ledger::{Committed, Database, LogReader, StoredEvent};
use crate::policy::PolicyLayer;
use crate::security::SecurityState;
use crate::security::change::{Change, FoldError, decode};
use crate::security::damage::{Sequences, incomplete, is_of_one_log};
use crate::security::directory::{Activation, Directory};
use crate::security::feed::{
    FeedError, Range, TENANTS_PER_READ, check_kinds, read_after, read_first, read_subjects,
};
use crate::user::UserEvent;

/// Notices are gathered for so long: a busy process commits hundreds of times a second, and most commits have no say.
const GATHER: Duration = Duration::from_millis(10);

/// It beats at least so often, with Postgres away too.
const BEAT: Duration = Duration::from_secs(1);
/// Events folded between two beats of a long read.
const EVENTS_PER_BEAT: u64 = 10_000;
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

/// Starts to keep `state` at the head of every log.
pub fn keep_at_the_head(state: SecurityState, parts: TailParts) -> Background {
    Background::start("security", |heartbeat| run(state, parts, heartbeat))
}

struct Tail {
    state: SecurityState,
    pool: PgPool,
    log: LogReader,
    heads: HeadsReader,
    /// The heads of the last scan that was taken in.
    seen: SeenHeads,
    heartbeat: Heartbeat,
}

/// What is read: whole logs, aggregate by aggregate, or by position what came since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Aggregates,
    Positions,
}

async fn run(state: SecurityState, parts: TailParts, heartbeat: Heartbeat) {
    let pool = parts.database.log().clone();
    let (mut heads, mut notices) = (parts.heads, parts.notices);
    let mut tail = Tail {
        state,
        log: LogReader::new(pool.clone()),
        pool,
        heads: heads.clone(),
        seen: SeenHeads::default(),
        heartbeat,
    };
    // A scan that was made before we began will do for a start.
    let mut scan = heads.latest();
    loop {
        tail.heartbeat.beat();
        let result = match scan.take() {
            Some(heads) => tail.take_scan(&heads).await,
            None => tokio::select! {
                latest = heads.next() => tail.take_scan(&latest).await,
                () = tokio::time::sleep(BEAT) => Ok(()),
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
                tail.state.clock.stop(error.to_string());
                // `/ready` says so; the loop itself is well, and starting it again would not help.
                return tail.heartbeat.during(std::future::pending()).await;
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

/// Folding what one read brings.
struct Folding<'t> {
    state: &'t SecurityState,
    heartbeat: &'t Heartbeat,
    order: Order,
    sequences: Sequences,
    read: u64,
    beside: Beside,
}

/// What lies beside the events that were folded, and must be brought.
#[derive(Default)]
struct Beside {
    /// Sources of the policies that began to decide: the last one of each layer.
    began: HashMap<(TenantId, PolicyLayer), Activation>,
    /// Rows of the subjects that were linked.
    links: Vec<(TenantId, SubjectLinkId)>,
}

impl<'t> Folding<'t> {
    fn new(state: &'t SecurityState, heartbeat: &'t Heartbeat, order: Order) -> Self {
        Self {
            state,
            heartbeat,
            order,
            sequences: Sequences::default(),
            read: 0,
            beside: Beside::default(),
        }
    }

    fn take(&mut self, event: &StoredEvent) -> Result<(), FoldError> {
        self.read += 1;
        if self.read.is_multiple_of(EVENTS_PER_BEAT) {
            self.heartbeat.beat();
        }
        let tenant = event.recorded.tenant;
        let whole = match self.order {
            Order::Aggregates => self.sequences.take(event),
            Order::Positions => Ok(()),
        };
        let change = match whole.and_then(|()| decode(event)) {
            Ok(change) => change,
            Err(error) => judge(self.state, tenant, error)?,
        };
        self.beside.links.extend(linked(&change));
        if let Some(activation) = self.state.write().apply(tenant, change) {
            let layer = activation.reference.layer;
            self.beside.began.insert((activation.tenant, layer), activation);
        }
        Ok(())
    }
}

/// Step 5. Whom an event that cannot be folded concerns: its tenant alone, who is denied from here on, or everybody.
fn judge(state: &SecurityState, tenant: TenantId, error: FoldError) -> Result<Change, FoldError> {
    if !is_of_one_log(tenant, &error) {
        return Err(error);
    }
    if !state.damaged().contains_key(&tenant) {
        tracing::error!(%tenant, %error, "the log of a tenant is damaged: its agents are denied");
        state.write().damage(tenant, error.to_string());
    }
    Ok(Change::None)
}

impl Tail {
    async fn take_scan(&mut self, heads: &Arc<Heads>) -> Result<(), FeedError> {
        let mut heads = Arc::clone(heads);
        if self.is_ahead_of(&heads) {
            // A scan may have begun before a commit whose notice was faster; one that begins now may not show less.
            heads = self.fresh_heads().await;
        }
        let rewound = self.seen.rewound(&self.log, &heads).await?;
        if self.is_ahead_of(&heads) || !rewound.is_empty() {
            self.begin_anew(&rewound);
        }
        let ends = heads
            .by_tenant
            .values()
            .map(|head| (head.tenant, head.head.position));
        self.advance(ends.collect()).await?;
        self.seen.note(&heads);
        self.state.postgres_time.set(heads.server_time);
        self.state.clock.stood_at_the_head(heads.read_at);
        Ok(())
    }

    /// Whether more was read of some log than it holds.
    fn is_ahead_of(&self, heads: &Heads) -> bool {
        let end = |tenant| heads.by_tenant.get(&tenant).map(|head| head.head.position);
        let is_past = |tenant, cursor| end(tenant).is_none_or(|end| end < cursor);
        self.state.reached.any(is_past)
    }

    async fn fresh_heads(&mut self) -> Arc<Heads> {
        let heartbeat = self.heartbeat.clone();
        heartbeat.during(self.heads.fresh()).await
    }

    /// Step 4. Nobody is let in by what is known until the log has been read again.
    fn begin_anew(&mut self, rewound: &[TenantId]) {
        tracing::error!(
            tenants = ?rewound,
            "a log ends before what was read of it, or goes on differently: Postgres was set back. Everything is denied \
             until the security state is built anew; run `counterfoil audit reconcile`"
        );
        metrics::counter!("counterfoil_security_rebuilds_total").increment(1);
        self.state.clock.forget();
        *self.state.write() = Directory::default();
        self.state.reached.forget();
        self.seen = SeenHeads::default();
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

    /// Reads and folds every log up to its end; of one that is damaged there is nothing more to know.
    async fn advance(&mut self, ends: HashMap<TenantId, Position>) -> Result<(), FeedError> {
        let damaged = self.state.damaged();
        let behind = ends.into_iter().filter_map(|(tenant, until)| {
            let after = self.state.reached.of(tenant);
            (after < until && !damaged.contains_key(&tenant)).then_some(Range { tenant, after, until })
        });
        let (new, known): (Vec<Range>, Vec<Range>) = behind.partition(|range| range.after == Position::ZERO);
        for ranges in new.chunks(TENANTS_PER_READ) {
            check_kinds(&self.pool, ranges).await?;
            let mut folding = Folding::new(&self.state, &self.heartbeat, Order::Aggregates);
            read_first(&self.pool, ranges, |event| folding.take(&event)).await?;
            let beside = folding.beside;
            self.bring(beside).await?;
            self.arrive(ranges);
        }
        for ranges in known.chunks(TENANTS_PER_READ) {
            let mut folding = Folding::new(&self.state, &self.heartbeat, Order::Positions);
            read_after(&self.pool, ranges, |event| folding.take(&event)).await?;
            let beside = folding.beside;
            self.bring(beside).await?;
            // What was revoked and activated holds by now; whether anything is missing may take a moment more.
            self.check_whole(ranges).await?;
            self.arrive(ranges);
        }
        let damaged = self.state.damaged().len();
        metrics::gauge!("counterfoil_security_damaged_logs").set(damaged as f64);
        Ok(())
    }

    /// Brings what lies beside the events just folded: the sources of the policies that began to decide, and the rows of the
    /// subjects that were linked.
    async fn bring(&mut self, beside: Beside) -> Result<(), FeedError> {
        for activation in beside.began.into_values() {
            self.activate(activation).await?;
        }
        for links in beside.links.chunks(LINKS_PER_READ) {
            self.bring_subjects(links).await?;
        }
        Ok(())
    }

    /// Moves the cursors, last: whatever fails before is done again, and folding an event again changes nothing.
    fn arrive(&self, ranges: &[Range]) {
        let ends = ranges.iter().map(|range| (range.tenant, range.until));
        self.state.reached.advance(ends);
    }

    /// Each event of these stretches is there; unless the log was set back meanwhile, which the next scan tells.
    async fn check_whole(&mut self, ranges: &[Range]) -> Result<(), FeedError> {
        let incomplete = incomplete(&self.pool, ranges).await?;
        if incomplete.is_empty() {
            return Ok(());
        }
        let heads = self.fresh_heads().await;
        for Range { tenant, after, until } in incomplete {
            let end = heads.by_tenant.get(&tenant).map(|head| head.head.position);
            if end.is_none_or(|end| end < until) {
                continue;
            }
            let what = format!("an event after position {after}, up to {until},");
            judge(&self.state, tenant, FoldError::Missing { tenant, what })?;
        }
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
