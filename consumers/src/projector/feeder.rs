//! Feeding one read model. Steps:
//!
//! 1. *Ready*: there is a live version of this build's revision; if not, it is made or rebuilt. One of a higher revision
//!    is a newer build's: it is left alone, and only our own retired version is fed on.
//! 2. *Look*, twice a second: which versions are to be fed, and whether somebody else has written one; old ones are dropped.
//! 3. *Feed*: what is behind, a bounded step at a time, each one statement as a rule; then wait for news.
//!
//! A damaged log stays out, and is tried again after some seconds: a step is one transaction, and would take the others
//! of it down.
//!
//! Whatever fails, versions are opened again and it goes on from where they stand: nothing in memory is trusted after an
//! error.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::background::Heartbeat;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::{CALL_TIMEOUT, within};
use counterfoil_projections::engine::{
    Batch, EngineError, Folder, Projection, RebuildOptions, Stretch, drop_retired, ensure_live, fed_versions,
    rebuild,
};
use sqlx::PgPool;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ProjectorOptions;
use super::inbox::Inbox;
use super::lead::Leader;
use super::recent::Recent;
use super::status::{FeedState, ProjectorStatus};

/// How often versions and cursors are looked at: a version that was swapped in elsewhere is fed after at most this.
const LOOK: Duration = Duration::from_millis(500);
const AFTER_ERROR: Duration = Duration::from_millis(250);
/// How long a damaged log stays out before it is tried again.
const AFTER_DAMAGE: Duration = Duration::from_secs(5);
/// After a step that had nothing to fold: most steps of most read models while others' events pour in. Without it each
/// commit would cost every read model a transaction that only moves cursors.
const AFTER_NOTHING: Duration = Duration::from_millis(20);
/// Steps begin at most so often while nothing is left behind: events that come meanwhile are folded together.
const PACE: Duration = Duration::from_millis(10);
const DROP_INTERVAL: Duration = Duration::from_secs(60);
/// Rows of a version that stay at hand: a few megabytes.
const ROWS_AT_HAND: usize = 4096;
/// Logs of one step.
const LOGS_PER_STEP: usize = 64;

pub(super) struct Feeder {
    projection: Arc<dyn Projection>,
    pool: PgPool,
    recent: Arc<Recent>,
    inbox: Arc<Inbox>,
    leader: Leader,
    status: ProjectorStatus,
    options: ProjectorOptions,
    heartbeat: Heartbeat,
    heads: HashMap<TenantId, Position>,
    fed: Vec<Fed>,
    damaged: HashMap<TenantId, Damaged>,
    drop_at: Instant,
    /// Whether it was said that a newer build is at work.
    told_outdated: bool,
}

/// A log with damage: left alone for a while, so that the others go on.
struct Damaged {
    reason: String,
    retry_at: Instant,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Nothing was behind.
    Idle,
    /// Only cursors moved.
    Passed,
    /// Events were folded.
    Folded,
}

/// A version that is fed.
struct Fed {
    folder: Folder,
    behind: BTreeSet<TenantId>,
}

impl Feeder {
    pub(super) fn new(
        projection: Arc<dyn Projection>,
        (pool, recent): (PgPool, Arc<Recent>),
        inbox: Arc<Inbox>,
        leader: Leader,
        status: ProjectorStatus,
        options: ProjectorOptions,
    ) -> Self {
        let heartbeat = Heartbeat::new(&format!("projector-{}", projection.name()));
        status.set(projection.name(), FeedState::Starting, &heartbeat);
        Self {
            projection,
            pool,
            recent,
            inbox,
            leader,
            status,
            options,
            heartbeat,
            heads: HashMap::new(),
            fed: Vec::new(),
            damaged: HashMap::new(),
            drop_at: Instant::now() + DROP_INTERVAL,
            told_outdated: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            if !self.leader.leads(self.projection.name()) {
                self.fed.clear();
                self.say(FeedState::StandingBy);
                sleep(LOOK).await;
                continue;
            }
            if let Err(error) = self.turn().await {
                self.fed.clear();
                self.recent.forget();
                self.failed(error);
                sleep(AFTER_ERROR).await;
            }
        }
    }

    fn failed(&mut self, error: EngineError) {
        match error {
            // Somebody else feeds it, or has retried what was parked: look where it stands now.
            EngineError::Fenced { .. } => {}
            EngineError::Damaged {
                tenant,
                position,
                source,
            } => {
                let reason = format!("tenant {tenant} position {position}: {source}");
                self.leave_out(tenant, reason);
            }
            error => {
                tracing::warn!(projection = self.projection.name(), %error, "the read model is not fed");
                self.say(FeedState::Failing {
                    reason: error.to_string(),
                });
            }
        }
    }

    fn leave_out(&mut self, tenant: TenantId, reason: String) {
        let projection = self.projection.name();
        tracing::error!(projection, reason, "a log is damaged; the others go on");
        let retry_at = Instant::now() + AFTER_DAMAGE;
        self.damaged.insert(tenant, Damaged { reason, retry_at });
        self.report();
    }

    /// Says how it stands.
    fn report(&self) {
        let state = match self.damaged.values().next() {
            Some(Damaged { reason, .. }) => FeedState::Failing {
                reason: reason.clone(),
            },
            None => FeedState::Feeding { lag: self.lag() },
        };
        self.say(state);
    }

    fn say(&self, state: FeedState) {
        self.status.set(self.projection.name(), state, &self.heartbeat);
    }

    /// Steps 1 and 2, then 3 until the next look.
    async fn turn(&mut self) -> Result<(), EngineError> {
        self.ready().await?;
        self.look().await?;
        let until = Instant::now() + LOOK;
        while Instant::now() < until && self.leader.leads(self.projection.name()) {
            let began = Instant::now();
            let step = self.feed().await?;
            self.report();
            let news = match step {
                Step::Folded if self.is_behind() => self.inbox.take(),
                Step::Folded => {
                    sleep_until(began + PACE).await;
                    self.inbox.take()
                }
                Step::Passed => {
                    sleep(AFTER_NOTHING).await;
                    self.inbox.take()
                }
                Step::Idle => {
                    let left = until.saturating_duration_since(Instant::now());
                    timeout(left, self.inbox.wait()).await.unwrap_or_default()
                }
            };
            self.note(news);
        }
        Ok(())
    }

    async fn ready(&mut self) -> Result<(), EngineError> {
        let live = timeout(CALL_TIMEOUT, ensure_live(&self.pool, &*self.projection));
        let live = live.await.unwrap_or_else(|_| Err(late()))?;
        let ours = self.projection.declaration().revision;
        if live.revision > ours && !self.told_outdated {
            self.told_outdated = true;
            tracing::warn!(
                projection = self.projection.name(),
                live = live.revision,
                ours,
                "a newer build has made the live version of this read model; this process feeds only its own retired one"
            );
        }
        if live.revision >= ours {
            return Ok(());
        }
        self.told_outdated = false;
        self.say(FeedState::Rebuilding);
        let beat = |_| self.heartbeat.beat();
        rebuild(&self.pool, &*self.projection, RebuildOptions::default(), &beat).await?;
        Ok(())
    }

    async fn look(&mut self) -> Result<(), EngineError> {
        let name = self.projection.name();
        if self.drop_at <= Instant::now() {
            self.drop_at = Instant::now() + DROP_INTERVAL;
            let age_s = i32::try_from(self.options.keep_retired.as_secs()).unwrap_or(i32::MAX);
            drop_retired(&self.pool, name, age_s).await?;
        }
        let versions = within(CALL_TIMEOUT, fed_versions(&self.pool, name)).await?;
        let mut known = std::mem::take(&mut self.fed);
        for version in versions {
            // The tables of another revision are for the build that made them.
            if version.revision != self.projection.declaration().revision {
                continue;
            }
            let is_it =
                |fed: &Fed| fed.folder.version() == version.version && fed.folder.is_at(version.steps);
            let folder = match known.iter().position(is_it) {
                Some(index) => known.swap_remove(index).folder,
                None => {
                    let opened = Folder::open(&self.pool, &*self.projection, version.version, ROWS_AT_HAND);
                    timeout(CALL_TIMEOUT, opened)
                        .await
                        .unwrap_or_else(|_| Err(late()))?
                }
            };
            let behind = BTreeSet::new();
            self.fed.push(Fed { folder, behind });
        }
        let now = Instant::now();
        self.damaged.retain(|_, damaged| damaged.retry_at > now);
        let heads = std::mem::take(&mut self.heads);
        self.note(heads);
        let news = self.inbox.take();
        self.note(news);
        Ok(())
    }

    fn note(&mut self, news: HashMap<TenantId, Position>) {
        for (tenant, position) in news {
            let head = self.heads.entry(tenant).or_default();
            *head = (*head).max(position);
            for fed in &mut self.fed {
                if fed.at(tenant) < *head && !self.damaged.contains_key(&tenant) {
                    fed.behind.insert(tenant);
                }
            }
        }
    }

    fn is_behind(&self) -> bool {
        self.fed.iter().any(|fed| !fed.behind.is_empty())
    }

    fn lag(&self) -> u64 {
        let of = |fed: &Fed, tenant: &TenantId| {
            self.heads
                .get(tenant)
                .map_or(0, |head| head.0.saturating_sub(fed.at(*tenant).0))
        };
        self.fed
            .iter()
            .flat_map(|fed| fed.behind.iter().map(move |tenant| of(fed, tenant)))
            .sum()
    }

    /// One step of every version that is behind.
    async fn feed(&mut self) -> Result<Step, EngineError> {
        let mut step = Step::Idle;
        for fed in &mut self.fed {
            let stretches = fed.stretches(&self.heads);
            if stretches.is_empty() {
                continue;
            }
            let batches = self.recent.read(&*self.projection, &stretches).await?;
            let folded = fed.folder.fold(&*self.projection, &batches).await?;
            fed.moved(&batches, &mut self.heads);
            step = step.max(if folded > 0 { Step::Folded } else { Step::Passed });
            metrics::counter!("counterfoil_projection_events_total", "projection" => self.projection.name())
                .increment(folded);
        }
        Ok(step)
    }
}

impl Fed {
    fn at(&self, tenant: TenantId) -> Position {
        self.folder.at(tenant)
    }

    fn stretches(&self, heads: &HashMap<TenantId, Position>) -> Vec<Stretch> {
        let stretch = |tenant: &TenantId| {
            let until = heads.get(tenant).copied().unwrap_or_default();
            Stretch {
                tenant: *tenant,
                from: self.at(*tenant),
                until,
            }
        };
        self.behind.iter().take(LOGS_PER_STEP).map(stretch).collect()
    }

    fn moved(&mut self, batches: &[Batch], heads: &mut HashMap<TenantId, Position>) {
        for Batch { tenant, from, to, .. } in batches {
            if from == to {
                // The log ends here, whatever was heard of it: a failover has taken its end.
                heads.insert(*tenant, *to);
            }
            if heads.get(tenant).is_none_or(|head| to >= head) {
                self.behind.remove(tenant);
            }
        }
    }
}

fn late() -> EngineError {
    let late = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, late)).into()
}
