//! Building a projection anew beside its live version, and putting it in its place. Steps:
//!
//! 1. *Claim* the projection's one rebuild job; a job that was cancelled, failed or died is resumed where its cursors
//!    stand.
//! 2. *Fold* every log from Postgres, tenants in parallel (one after the other where rows span logs).
//! 3. *Swap*, in one transaction: keep the live version's feeder out, fold what little is left, require that the new version is
//!    nowhere behind, replace the views. Readers see the one or the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use counterfoil_events::ids::{Position, TenantId};
use futures::future::BoxFuture;
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::engine::cursor::cursors;
use crate::engine::error::EngineError;
use crate::engine::feed::page;
use crate::engine::fold::AtHand;
use crate::engine::folder::{Folder, step};
use crate::engine::projection::Projection;
use crate::engine::version::{
    Version, VersionState, create, drop_version, enter, lock_makers, promote, script, versions, versions_on,
};
use crate::engine::write::Fence;

const HEADS: &str = "SELECT tenant_id, position FROM counterfoil.chain_heads ORDER BY tenant_id";
/// Claims the job unless another process is at it: one that has not been heard of for 30 s is not.
const CLAIM: &str = "INSERT INTO counterfoil.rebuild_jobs AS job (projection, version, state, events_per_s, events_total) \
                     VALUES ($1, $2, 'running', $3, $4) \
                     ON CONFLICT (projection) DO UPDATE SET version = excluded.version, state = 'running', \
                         events_per_s = excluded.events_per_s, events_total = excluded.events_total, events_done = 0, \
                         started_at = now(), heartbeat_at = now(), ended_at = NULL, detail = '' \
                     WHERE job.state <> 'running' OR job.heartbeat_at < now() - interval '30 seconds' \
                     RETURNING started_at";
/// Whoever was silent for too long may find that another has claimed the job since, at another time.
const BEAT: &str = "UPDATE counterfoil.rebuild_jobs SET heartbeat_at = now(), events_done = events_done + $3 \
                    WHERE projection = $1 AND started_at = $2 AND state = 'running' RETURNING version";
const END: &str = "UPDATE counterfoil.rebuild_jobs SET state = $3, ended_at = now(), detail = $4 \
                   WHERE projection = $1 AND started_at = $2 AND state = 'running'";
const CANCEL: &str = "UPDATE counterfoil.rebuild_jobs SET state = 'cancelled', ended_at = now() \
                      WHERE projection = $1 AND state = 'running'";
const LOCK_VERSIONS: &str =
    "SELECT FROM counterfoil.projection_versions WHERE projection = $1 ORDER BY version FOR UPDATE";
const SWAP_ATTEMPTS: u32 = 20;
/// Well below the 30 s after which CLAIM takes a job for dead.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
/// Rows kept at hand per worker: some hundred megabytes at the very most.
const ROWS_AT_HAND: usize = 200_000;

/// How a rebuild goes about it.
#[derive(Debug, Clone, Copy)]
pub struct RebuildOptions {
    /// Events a second at most; zero for as fast as it goes.
    pub events_per_s: u32,
    /// Tenants folded at the same time.
    pub workers: usize,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            events_per_s: 0,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RebuildProgress {
    /// The version being built.
    pub version: i32,
    /// Positions passed, of all logs.
    pub done: u64,
    /// Positions to pass.
    pub total: u64,
    /// Events folded.
    pub folded: u64,
}

/// Rebuilds a projection and swaps it in; `progress` hears of each step. Answers the new version.
///
/// # Errors
/// See [`EngineError`]; the live version is untouched, and the next rebuild resumes.
pub fn rebuild<'a>(
    pool: &'a PgPool,
    projection: &'a dyn Projection,
    options: RebuildOptions,
    progress: &'a (dyn Fn(RebuildProgress) + Send + Sync),
) -> BoxFuture<'a, Result<Version, EngineError>> {
    // Boxed, so that whoever awaits it in a task need not prove that it may move between threads.
    Box::pin(run(pool, projection, options, progress))
}

async fn run(
    pool: &PgPool,
    projection: &dyn Projection,
    options: RebuildOptions,
    progress: &(dyn Fn(RebuildProgress) + Send + Sync),
) -> Result<Version, EngineError> {
    let (version, claimed_at) = claim(pool, projection, options).await?;
    let built = build(pool, projection, (&version, claimed_at), options, progress).await;
    let (state, detail) = match &built {
        Ok(()) => ("done", String::new()),
        Err(EngineError::Cancelled(_)) => ("cancelled", String::new()),
        Err(error) => ("failed", error.to_string()),
    };
    let noted = sqlx::query(END)
        .bind(projection.name())
        .bind(claimed_at)
        .bind(state)
        .bind(detail)
        .execute(pool)
        .await;
    match noted {
        Err(error) if built.is_ok() => return Err(error.into()),
        // Why it failed is more than that this could not be noted.
        Err(error) => {
            tracing::warn!(projection = projection.name(), %error, "how a rebuild ended is not noted")
        }
        Ok(_) => {}
    }
    built.map(|()| Version {
        state: VersionState::Live,
        ..version
    })
}

/// Stops a rebuild that is under way; answers whether there was one.
///
/// # Errors
/// When Postgres does not answer.
pub async fn cancel(pool: &PgPool, projection: &str) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query(CANCEL)
        .bind(projection)
        .execute(pool)
        .await?
        .rows_affected()
        > 0)
}

/// Step 1. Answers when it was claimed, too: by that the job is known as ours.
async fn claim(
    pool: &PgPool,
    projection: &dyn Projection,
    options: RebuildOptions,
) -> Result<(Version, DateTime<Utc>), EngineError> {
    let name = projection.name();
    let total: u64 = heads(pool).await?.iter().map(|(_, head)| head.0).sum();
    let mut transaction = pool.begin().await?;
    // Two that claim at once would both make the next version.
    lock_makers(&mut transaction).await?;
    let all = versions_on(&mut transaction, name).await?;
    let building = all
        .into_iter()
        .filter(|version| version.state == VersionState::Building);
    // One of another revision is of no use: it is dropped, under the claim.
    let (resumable, stale): (Vec<_>, Vec<_>) =
        building.partition(|version| version.revision == projection.declaration().revision);
    let version = match resumable.into_iter().next_back() {
        Some(version) => version,
        None => create(&mut transaction, projection, VersionState::Building).await?,
    };
    let claimed: Option<DateTime<Utc>> = sqlx::query_scalar(CLAIM)
        .bind(name)
        .bind(version.version)
        .bind(i32::try_from(options.events_per_s).unwrap_or(i32::MAX))
        .bind(i64::try_from(total).unwrap_or(i64::MAX))
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(claimed_at) = claimed else {
        return Err(EngineError::RebuildUnderWay(name.to_owned()));
    };
    transaction.commit().await?;
    for version in stale {
        drop_version(pool, name, version.version).await?;
    }
    Ok((version, claimed_at))
}

async fn heads(pool: &PgPool) -> Result<Vec<(TenantId, Position)>, sqlx::Error> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(HEADS).fetch_all(pool).await?;
    Ok(rows
        .into_iter()
        .map(|(tenant, position)| (TenantId(tenant), Position::from_i64(position)))
        .collect())
}

/// What the workers of one rebuild share.
struct Site<'a> {
    pool: &'a PgPool,
    projection: &'a dyn Projection,
    version: i32,
    claimed_at: DateTime<Utc>,
    options: RebuildOptions,
    started: Instant,
    tally: Mutex<RebuildProgress>,
    progress: &'a (dyn Fn(RebuildProgress) + Send + Sync),
}

/// Steps 2 and 3.
async fn build(
    pool: &PgPool,
    projection: &dyn Projection,
    (version, claimed_at): (&Version, DateTime<Utc>),
    options: RebuildOptions,
    progress: &(dyn Fn(RebuildProgress) + Send + Sync),
) -> Result<(), EngineError> {
    let heads = heads(pool).await?;
    let stands = cursors(&mut *pool.acquire().await?, projection.name(), version.version).await?;
    let total = heads.iter().map(|(_, head)| head.0).sum();
    let done = stands.values().map(|position| position.0).sum();
    let site = Site {
        pool,
        projection,
        version: version.version,
        claimed_at,
        options,
        started: Instant::now(),
        tally: Mutex::new(RebuildProgress {
            version: version.version,
            done,
            total,
            folded: 0,
        }),
        progress,
    };
    // A version that has folded nothing has empty tables: no row of it needs to be read.
    fold_all(&site, heads, stands.is_empty()).await?;
    analyze(&site).await?;
    for attempt in 1..=SWAP_ATTEMPTS {
        match swap(&site).await {
            Err(EngineError::Postgres(error)) if is_lock_timeout(&error) && attempt < SWAP_ATTEMPTS => {
                tracing::info!(
                    projection = projection.name(),
                    attempt,
                    "the swap waits for readers"
                );
            }
            other => return other,
        }
    }
    Err(EngineError::Version(format!(
        "{} could not be swapped in: its readers never let go",
        projection.name()
    )))
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "55P03")
}

/// Step 2.
async fn fold_all(site: &Site<'_>, heads: Vec<(TenantId, Position)>, fresh: bool) -> Result<(), EngineError> {
    let work: Mutex<VecDeque<_>> = Mutex::new(heads.into());
    let spans = site.projection.declaration().spans_logs;
    let workers = if spans { 1 } else { site.options.workers.max(1) };
    let mut working: Vec<BoxFuture<'_, Result<(), EngineError>>> = Vec::new();
    for _ in 0..workers {
        working.push(Box::pin(fold_some(site, &work, fresh)));
    }
    futures::future::try_join_all(working).await?;
    Ok(())
}

/// Folds logs until none is left.
async fn fold_some(
    site: &Site<'_>,
    work: &Mutex<VecDeque<(TenantId, Position)>>,
    fresh: bool,
) -> Result<(), EngineError> {
    let mut folder = Folder::for_rebuild(site.pool, site.projection, site.version, ROWS_AT_HAND).await?;
    if fresh {
        folder.begins_anew();
    }
    loop {
        let Some((tenant, head)) = work.lock().await.pop_front() else {
            return Ok(());
        };
        // The rows of one log are of no use to another, unless rows span logs.
        if fresh && !site.projection.declaration().spans_logs {
            folder.begins_anew();
        }
        fold_log(site, &mut folder, tenant, head).await?;
    }
}

async fn fold_log(
    site: &Site<'_>,
    folder: &mut Folder,
    tenant: TenantId,
    head: Position,
) -> Result<(), EngineError> {
    loop {
        let at = folder.at(tenant);
        if at >= head {
            return Ok(());
        }
        let batch = folder.next(site.projection, tenant, head).await?;
        let to = batch.to;
        if to == at {
            // The log ends before: a failover has taken what came behind.
            return Ok(());
        }
        let folded = folder.fold(site.projection, &[batch]).await?;
        fail::fail_point!("rebuild.mid_fold");
        site.passed(to.0 - at.0, folded).await?;
    }
}

impl Site<'_> {
    /// Counts a step, says so, and keeps to the throttle; an error when the job was cancelled.
    async fn passed(&self, positions: u64, folded: u64) -> Result<(), EngineError> {
        self.beat(positions).await?;
        let due = self.count(positions, folded).await;
        // In slices: a job that is silent for too long is another's.
        loop {
            let left = due.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(LONGEST_SILENCE)).await;
            self.beat(0).await?;
        }
    }

    /// Says that the job is alive and has passed `positions` more.
    async fn beat(&self, positions: u64) -> Result<(), EngineError> {
        let name = self.projection.name();
        let beat: Option<i32> = sqlx::query_scalar(BEAT)
            .bind(name)
            .bind(self.claimed_at)
            .bind(i64::try_from(positions).unwrap_or(i64::MAX))
            .fetch_optional(self.pool)
            .await?;
        match beat {
            Some(version) if version == self.version => Ok(()),
            _ => Err(EngineError::Cancelled(name.to_owned())),
        }
    }

    /// Adds to the tally; answers after which time since the start the throttle lets it go on.
    async fn count(&self, positions: u64, folded: u64) -> Duration {
        let mut tally = self.tally.lock().await;
        tally.done += positions;
        tally.folded += folded;
        (self.progress)(*tally);
        match self.options.events_per_s {
            0 => Duration::ZERO,
            events_per_s => Duration::from_secs_f64(tally.folded as f64 / f64::from(events_per_s)),
        }
    }
}

/// Takes the statistics of the new tables before anybody reads them: without any, a page of a list is found by sorting
/// the whole table.
async fn analyze(site: &Site<'_>) -> Result<(), EngineError> {
    let mut transaction = site.pool.begin().await?;
    enter(&mut transaction, site.projection.name(), site.version).await?;
    for table in site.projection.declaration().tables {
        script(&mut transaction, table.analyze).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Step 3. The projector waits for the live cursors meanwhile, so what is left to fold is bounded by this attempt.
async fn swap(site: &Site<'_>) -> Result<(), EngineError> {
    let name = site.projection.name();
    let all = versions(site.pool, name).await?;
    let live = all.iter().find(|version| version.state == VersionState::Live);
    // First without the lock, so that little is left to do under it.
    let mut folder = Folder::for_rebuild(site.pool, site.projection, site.version, ROWS_AT_HAND).await?;
    for (tenant, head) in heads(site.pool).await? {
        fold_log(site, &mut folder, tenant, head).await?;
    }
    drop(folder);
    let mut transaction = site.pool.begin().await?;
    script(&mut transaction, "SET LOCAL lock_timeout = '1s'").await?;
    enter(&mut transaction, name, site.version).await?;
    lock_makers(&mut transaction).await?;
    if let Some(live) = live {
        // Every step of a feeder counts one up there first, so none is made until we are done.
        sqlx::query(LOCK_VERSIONS)
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        let (ours, theirs) = (
            cursors(&mut transaction, name, site.version).await?,
            cursors(&mut transaction, name, live.version).await?,
        );
        let mut at_hand = AtHand::default();
        for (tenant, until) in theirs {
            let mut at = ours.get(&tenant).copied().unwrap_or_default();
            while at < until {
                let batch = page(&mut transaction, site.projection, tenant, at, until).await?;
                if batch.to == at {
                    break;
                }
                at = batch.to;
                step(
                    &mut transaction,
                    site.projection,
                    site.version,
                    Fence::Cursors,
                    &mut at_hand,
                    &[batch],
                )
                .await?;
            }
        }
    }
    promote(&mut transaction, site.projection, site.version).await?;
    fail::fail_point!("rebuild.before_swap");
    transaction.commit().await?;
    fail::fail_point!("rebuild.after_swap");
    Ok(())
}
