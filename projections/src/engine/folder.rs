//! A version that is being folded into: a connection in its schema, what is at hand of its tables, where it stands.
//!
//! Rows that were read or written stay at hand from step to step: while the fence holds, nobody else has changed them. So
//! a step that touches known rows is one statement. After any error nothing of this is trusted: open it anew.

use std::time::Duration;

use counterfoil_events::ids::{Position, TenantId};
use sqlx::{PgConnection, PgPool};
use tokio::time::timeout;

use crate::engine::cursor::{Cursors, cursors};
use crate::engine::error::EngineError;
use crate::engine::feed::page;
use crate::engine::fold::{AtHand, Batch, fold_batches};
use crate::engine::projection::Projection;
use crate::engine::version::steps;
use crate::engine::write::{Fence, write};

/// Longer than a step's statements may take by the server's own limit: the server may be gone without a word.
const STEP_LIMIT: Duration = Duration::from_secs(30);
/// For the whole session. Rows and cursors are lost or kept together, and what is lost is folded again, so nothing waits
/// for the disk. Every statement rests on keys, so a plan is made once.
const ENTER: &str = "SELECT set_config('search_path', format('read_%s_v%s', $1::text, $2::int), false), \
                     set_config('synchronous_commit', 'off', false), \
                     set_config('plan_cache_mode', 'force_generic_plan', false)";

/// See the module.
pub struct Folder {
    version: i32,
    /// Its own: the statements that it has prepared are planned for this schema.
    connection: PgConnection,
    fence: Fence,
    at_hand: AtHand,
    rows_at_hand: usize,
    cursors: Cursors,
}

impl Folder {
    /// Begins to fold into a version that others may write, too. Keeps up to `rows_at_hand` rows at hand.
    ///
    /// # Errors
    /// When there is no such version, or Postgres does not answer.
    pub async fn open(
        pool: &PgPool,
        projection: &dyn Projection,
        version: i32,
        rows_at_hand: usize,
    ) -> Result<Self, EngineError> {
        let mut folder = Self::enter(pool, projection, version, rows_at_hand).await?;
        // The count first: whoever writes between the two makes the first step fail.
        folder.fence = Fence::Steps(steps(&mut folder.connection, projection.name(), version).await?);
        folder.cursors = cursors(&mut folder.connection, projection.name(), version).await?;
        Ok(folder)
    }

    /// Begins to fold into a version that only its one rebuild writes. Where rows stand on one log each, several of these
    /// may fold different logs at once.
    pub(super) async fn for_rebuild(
        pool: &PgPool,
        projection: &dyn Projection,
        version: i32,
        rows_at_hand: usize,
    ) -> Result<Self, EngineError> {
        match projection.declaration().spans_logs {
            true => Self::open(pool, projection, version, rows_at_hand).await,
            false => {
                let mut folder = Self::enter(pool, projection, version, rows_at_hand).await?;
                folder.cursors = cursors(&mut folder.connection, projection.name(), version).await?;
                Ok(folder)
            }
        }
    }

    async fn enter(
        pool: &PgPool,
        projection: &dyn Projection,
        version: i32,
        rows_at_hand: usize,
    ) -> Result<Self, EngineError> {
        let mut connection = pool.acquire().await?.detach();
        sqlx::query(ENTER)
            .bind(projection.name())
            .bind(version)
            .execute(&mut connection)
            .await?;
        Ok(Self {
            version,
            connection,
            fence: Fence::Cursors,
            at_hand: AtHand::default(),
            rows_at_hand,
            cursors: Cursors::new(),
        })
    }

    /// Which version.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Whether the version has made only the steps that this one made or knew of.
    #[must_use]
    pub fn is_at(&self, steps: i64) -> bool {
        self.fence == Fence::Steps(steps)
    }

    /// Where it stands in a tenant's log.
    #[must_use]
    pub fn at(&self, tenant: TenantId) -> Position {
        self.cursors.get(&tenant).copied().unwrap_or_default()
    }

    /// The tables are empty: no row needs to be read. (Or: those of the log that comes next hold nothing of it.)
    pub(super) fn begins_anew(&mut self) {
        self.at_hand = AtHand::of_empty_tables();
    }

    /// Reads the next step of a tenant's log, not beyond `until`.
    pub(super) async fn next(
        &mut self,
        projection: &dyn Projection,
        tenant: TenantId,
        until: Position,
    ) -> Result<Batch, EngineError> {
        let from = self.at(tenant);
        let page = page(&mut self.connection, projection, tenant, from, until);
        in_time(async { Ok(page.await?) }).await
    }

    /// Folds batches that begin where it stands, and writes what comes of it; answers how many events were folded.
    ///
    /// # Errors
    /// See [`EngineError`]. Nothing was written, or it is not known; this is to be opened anew.
    pub async fn fold(&mut self, projection: &dyn Projection, batches: &[Batch]) -> Result<u64, EngineError> {
        let folded = in_time(step(
            &mut self.connection,
            projection,
            self.version,
            self.fence,
            &mut self.at_hand,
            batches,
        ))
        .await?;
        fail::fail_point!("projection.after_commit");
        if let Fence::Steps(steps) = &mut self.fence {
            *steps += 1;
        }
        self.cursors
            .extend(batches.iter().map(|batch| (batch.tenant, batch.to)));
        self.at_hand.rows.shrink(self.rows_at_hand);
        Ok(folded)
    }
}

/// One step: folds batches and writes what comes of it.
pub(super) async fn step(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
    fence: Fence,
    at_hand: &mut AtHand,
    batches: &[Batch],
) -> Result<u64, EngineError> {
    let folded = fold_batches(connection, projection, version, at_hand, batches).await?;
    fail::fail_point!("projection.mid_fold");
    write(connection, projection, version, fence, at_hand, batches).await?;
    Ok(folded)
}

async fn in_time<T>(call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    timeout(STEP_LIMIT, call).await.unwrap_or_else(|_| {
        let late = format!("no answer within {} s", STEP_LIMIT.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, late)).into())
    })
}
