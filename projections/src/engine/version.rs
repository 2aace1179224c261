//! Versions: builds of a projection, each in a schema of its own; one is live, the views show it.
//!
//! `building` → `live` → `retired` → dropped. A retired version is fed until it is dropped, so that a reader whose
//! statements were prepared before the swap keeps reading something true.

use serde::Serialize;
use sqlx::{Executor, PgConnection, PgPool};

use crate::engine::error::EngineError;
use crate::engine::projection::Projection;

const LIST: &str = "SELECT version, revision, state, steps FROM counterfoil.projection_versions \
                    WHERE projection = $1 ORDER BY version";
const ADD: &str = "INSERT INTO counterfoil.projection_versions (projection, version, revision, state) \
                   SELECT $1, coalesce(max(version), 0) + 1, $2, $3 FROM counterfoil.projection_versions \
                   WHERE projection = $1 RETURNING version, revision, state, steps";
const RETIRE: &str = "UPDATE counterfoil.projection_versions SET state = 'retired', retired_at = now() \
                      WHERE projection = $1 AND state = 'live'";
const PROMOTE: &str =
    "UPDATE counterfoil.projection_versions SET state = 'live' WHERE projection = $1 AND version = $2";
/// Each costs its feeder a connection, so not many are kept however often one rebuilds.
const OLD: &str = "SELECT version, revision, state, steps FROM ( \
                       SELECT *, rank() OVER (ORDER BY version DESC) AS rank FROM counterfoil.projection_versions \
                       WHERE projection = $1 AND state = 'retired') AS retired \
                   WHERE rank > 3 OR retired_at <= now() - $2 * interval '1 second' ORDER BY version";
const COUNT_STEP: &str = "UPDATE counterfoil.projection_versions SET steps = steps + 1 \
                          WHERE projection = $1 AND version = $2";
/// Transaction-local: whoever uses the connection next has neither. Nothing waits for the disk, since rows and cursor
/// are lost or kept together and what is lost is folded again.
const ENTER: &str = "SELECT set_config('search_path', format('read_%s_v%s', $1::text, $2::int), true), \
                     set_config('synchronous_commit', 'off', true)";
/// One maker at a time: projections share the schema of the views.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('counterfoil projections'))";
const CREATE_SCHEMA: &str = "SELECT format('CREATE SCHEMA %I', format('read_%s_v%s', $1::text, $2::int))";
const DROP_SCHEMA: &str =
    "SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', format('read_%s_v%s', $1::text, $2::int))";
/// Every table of the new schema is bound by row-level security like the log's own, and readable by those it binds.
const BIND: &str = include_str!("bind_tables.sql");

/// Where a version is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Being built beside the live one.
    Building,
    /// Shown by the views.
    Live,
    /// Still fed, no longer shown.
    Retired,
}

/// A build of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Version {
    /// 1, 2, 3 …
    pub version: i32,
    /// Of the fold and tables that made it.
    pub revision: i32,
    /// Where in its life.
    pub state: VersionState,
    /// How often its rows were changed: who changes them says what count he read them at.
    #[serde(skip)]
    pub steps: i64,
}

/// All versions of a projection.
///
/// # Errors
/// When Postgres does not answer.
pub async fn versions(pool: &PgPool, projection: &str) -> Result<Vec<Version>, sqlx::Error> {
    sqlx::query_as(LIST).bind(projection).fetch_all(pool).await
}

pub(super) async fn versions_on(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<Vec<Version>, sqlx::Error> {
    sqlx::query_as(LIST).bind(projection).fetch_all(connection).await
}

/// The live version.
///
/// # Errors
/// When there is none, or Postgres does not answer.
pub async fn live_version(pool: &PgPool, projection: &str) -> Result<Version, EngineError> {
    let all = versions(pool, projection).await?;
    let live = all
        .into_iter()
        .find(|version| version.state == VersionState::Live);
    live.ok_or_else(|| {
        EngineError::Version(format!(
            "projection {projection} has no live version: start a projector"
        ))
    })
}

/// The versions that the projector feeds: the live one and those retired but not dropped.
///
/// # Errors
/// When Postgres does not answer.
pub async fn fed_versions(pool: &PgPool, projection: &str) -> Result<Vec<Version>, sqlx::Error> {
    let all = versions(pool, projection).await?;
    Ok(all
        .into_iter()
        .filter(|version| version.state != VersionState::Building)
        .collect())
}

/// Makes a first version and shows it, where there is none. Answers the live version; one of another revision is the
/// caller's to rebuild.
///
/// # Errors
/// When Postgres refuses the projection's SQL, or does not answer.
pub async fn ensure_live(pool: &PgPool, projection: &dyn Projection) -> Result<Version, EngineError> {
    let mut transaction = pool.begin().await?;
    lock_makers(&mut transaction).await?;
    let all = versions_on(&mut transaction, projection.name()).await?;
    if let Some(live) = all
        .into_iter()
        .find(|version| version.state == VersionState::Live)
    {
        return Ok(live);
    }
    let version = create(&mut transaction, projection, VersionState::Live).await?;
    show(&mut transaction, projection, version.version).await?;
    transaction.commit().await?;
    Ok(version)
}

/// Waits until nobody else makes or shows a version, for the rest of the transaction.
pub(super) async fn lock_makers(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(LOCK).execute(connection).await.map(|_| ())
}

/// Makes the next version, beside the others, within the caller's transaction.
pub(super) async fn create(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    state: VersionState,
) -> Result<Version, EngineError> {
    let made: Version = sqlx::query_as(ADD)
        .bind(projection.name())
        .bind(projection.declaration().revision)
        .bind(state)
        .fetch_one(&mut *connection)
        .await?;
    let schema: String = sqlx::query_scalar(CREATE_SCHEMA)
        .bind(projection.name())
        .bind(made.version)
        .fetch_one(&mut *connection)
        .await?;
    script(&mut *connection, &schema).await?;
    enter(connection, projection.name(), made.version).await?;
    script(&mut *connection, projection.declaration().create_tables).await?;
    script(&mut *connection, BIND).await?;
    Ok(made)
}

/// Runs several statements. (By way of the executor: the query's own `execute` makes futures that cannot be sent.)
pub(super) async fn script(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    connection.execute(sqlx::raw_sql(sql)).await.map(|_| ())
}

/// Makes a version's schema the `search_path` until the transaction ends.
pub(super) async fn enter(
    connection: &mut PgConnection,
    projection: &str,
    version: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query(ENTER)
        .bind(projection)
        .bind(version)
        .execute(connection)
        .await
        .map(|_| ())
}

/// How many steps a version has made.
pub(super) async fn steps(
    connection: &mut PgConnection,
    projection: &str,
    version: i32,
) -> Result<i64, EngineError> {
    let all = versions_on(connection, projection).await?;
    let found = all.into_iter().find(|of| of.version == version);
    let gone = || EngineError::Version(format!("{projection} has no version {version} any more"));
    Ok(found.ok_or_else(gone)?.steps)
}

/// Counts a step, and keeps all others out for the rest of the transaction.
pub(super) async fn count_step(
    connection: &mut PgConnection,
    projection: &str,
    version: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query(COUNT_STEP)
        .bind(projection)
        .bind(version)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Lets the stable views show a version. A view can only gain columns at its end; another shape is another view.
pub(super) async fn show(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
) -> Result<(), sqlx::Error> {
    enter(connection, projection.name(), version).await?;
    script(&mut *connection, "CREATE SCHEMA IF NOT EXISTS read").await?;
    script(&mut *connection, projection.declaration().create_views).await?;
    script(
        &mut *connection,
        "GRANT USAGE ON SCHEMA read TO counterfoil_app, counterfoil_reader; \
         GRANT SELECT ON ALL TABLES IN SCHEMA read TO counterfoil_app, counterfoil_reader",
    )
    .await
}

/// Retires the live version and puts `version` in its place.
pub(super) async fn promote(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
) -> Result<(), sqlx::Error> {
    show(connection, projection, version).await?;
    sqlx::query(RETIRE)
        .bind(projection.name())
        .execute(&mut *connection)
        .await?;
    sqlx::query(PROMOTE)
        .bind(projection.name())
        .bind(version)
        .execute(connection)
        .await?;
    Ok(())
}

/// Drops versions that were retired at least `age_s` seconds ago, and all but the latest few; answers which.
///
/// # Errors
/// When Postgres does not answer.
pub async fn drop_retired(pool: &PgPool, projection: &str, age_s: i32) -> Result<Vec<i32>, sqlx::Error> {
    let old: Vec<Version> = sqlx::query_as(OLD)
        .bind(projection)
        .bind(age_s)
        .fetch_all(pool)
        .await?;
    for version in &old {
        drop_version(pool, projection, version.version).await?;
    }
    Ok(old.iter().map(|version| version.version).collect())
}

/// Drops one version with everything that is remembered of it.
pub(super) async fn drop_version(pool: &PgPool, projection: &str, version: i32) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let drop: String = sqlx::query_scalar(DROP_SCHEMA)
        .bind(projection)
        .bind(version)
        .fetch_one(&mut *transaction)
        .await?;
    script(&mut transaction, &drop).await?;
    for forget in [
        "DELETE FROM counterfoil.projection_cursors WHERE projection = $1 AND version = $2",
        "DELETE FROM counterfoil.parked_events WHERE projection = $1 AND version = $2",
        "DELETE FROM counterfoil.projection_versions WHERE projection = $1 AND version = $2",
    ] {
        sqlx::query(forget)
            .bind(projection)
            .bind(version)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}
