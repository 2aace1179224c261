//! Feeding one read model. Steps:
//!
//! 1. *Ready*: there is a live version of this build's revision; if not, it is made or rebuilt. One of a higher revision
//!    is a newer build's: it is left alone, and only our own retired version is fed on.
//! 2. *Look*, twice a second: which versions are to be fed, where their cursors stand; old ones are dropped.
//! 3. *Feed*: what is behind, a bounded step at a time; then wait for news.
//!
//! A damaged log stays out, and is tried again after some seconds: a step is one transaction, and would take the others
//! of it down.
//!
//! Whatever fails, cursors are read again and it goes on from there: nothing in memory is trusted after an error.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::backbone::Heartbeat;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_projections::engine::{
    Batch, EngineError, Projection, RebuildOptions, Rows, Stretch, cursors, drop_retired, ensure_live,
    fed_versions, fold, rebuild,
};
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};

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
const DROP_INTERVAL: Duration = Duration::from_secs(60);
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
    version: i32,
    cursors: HashMap<TenantId, Position>,
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
            if !self.leader.leads() {
                self.say(FeedState::StandingBy);
                sleep(LOOK).await;
                continue;
            }
            match self.turn().await {
                // Somebody else moved a cursor: look where it stands now.
                Ok(()) | Err(EngineError::Fenced { .. }) => {}
                Err(EngineError::Damaged {
                    tenant,
                    position,
                    source,
                }) => {
                    let reason = format!("tenant {tenant} position {position}: {source}");
                    self.leave_out(tenant, reason);
                    sleep(AFTER_ERROR).await;
                }
                Err(error) => {
                    tracing::warn!(projection = self.projection.name(), %error, "the read model is not fed");
                    self.say(FeedState::Failing {
                        reason: error.to_string(),
                    });
                    sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    fn leave_out(&mut self, tenant: TenantId, reason: String) {
        let projection = self.projection.name();
        tracing::error!(projection, reason, "a log is damaged; the others go on");
        self.recent.forget(tenant);
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
        while Instant::now() < until && self.leader.leads() {
            let step = self.feed().await?;
            self.report();
            let news = match step {
                Step::Folded => self.inbox.take(),
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
        let live = ensure_live(&self.pool, &*self.projection).await?;
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
        let mut fed = Vec::new();
        for version in fed_versions(&self.pool, name).await? {
            // The tables of another revision are for the build that made them.
            if version.revision != self.projection.declaration().revision {
                continue;
            }
            let mut connection = self.pool.acquire().await?;
            let cursors = cursors(&mut connection, name, version.version).await?;
            fed.push(Fed {
                version: version.version,
                cursors: cursors.into_iter().collect(),
                behind: BTreeSet::new(),
            });
        }
        self.fed = fed;
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
            // Rows are read anew for each step: others may change them between steps (a retry of parked events).
            let mut rows = Rows::default();
            let batches = self.recent.read(&*self.projection, &stretches).await?;
            let folded = fold(&self.pool, &*self.projection, fed.version, &mut rows, &batches).await?;
            fed.moved(&batches, &self.heads);
            step = step.max(if folded > 0 { Step::Folded } else { Step::Passed });
            metrics::counter!("counterfoil_projection_events_total", "projection" => self.projection.name())
                .increment(folded);
        }
        Ok(step)
    }
}

impl Fed {
    fn at(&self, tenant: TenantId) -> Position {
        self.cursors.get(&tenant).copied().unwrap_or_default()
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

    fn moved(&mut self, batches: &[Batch], heads: &HashMap<TenantId, Position>) {
        for Batch { tenant, to, .. } in batches {
            self.cursors.insert(*tenant, *to);
            if heads.get(tenant).is_none_or(|head| to >= head) {
                self.behind.remove(tenant);
            }
        }
    }
}
