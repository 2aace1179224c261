//! Step 2: the schema, as its owner. Migrations are plain SQL, each reversible, embedded in the binary.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

macro_rules! migration {
    ($version:literal, $name:literal) => {
        (
            $version,
            $name,
            include_str!(concat!("../../migrations/", $name, ".up.sql")),
            include_str!(concat!("../../migrations/", $name, ".down.sql")),
        )
    };
}

/// Version, name, up, down. Never change one that was released: add the next.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[
    migration!(1, "0001_log"),
    migration!(2, "0002_append"),
    migration!(3, "0003_cqrs_events"),
    migration!(4, "0004_projections"),
    migration!(5, "0005_kri_runs"),
    migration!(6, "0006_restore_head"),
    migration!(7, "0007_schema_version"),
    migration!(8, "0008_signing_key"),
    migration!(9, "0009_append_plan"),
    migration!(11, "0011_vault"),
    migration!(12, "0012_subjects"),
    migration!(13, "0013_sessions"),
    migration!(16, "0016_projection_steps"),
];

/// The schema could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres refused or did not answer.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// A migration failed, or the database has others than this build.
    #[error("migrating the schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

fn migrator(up_to: i64) -> Migrator {
    let wanted = MIGRATIONS.iter().filter(|(version, ..)| *version <= up_to);
    let migrations = wanted.flat_map(|(version, name, up, down)| {
        let make = |kind, sql: &'static str| {
            Migration::new(*version, Cow::Borrowed(*name), kind, Cow::Borrowed(sql), false)
        };
        [
            make(MigrationType::ReversibleUp, up),
            make(MigrationType::ReversibleDown, down),
        ]
    });
    Migrator {
        migrations: Cow::Owned(migrations.collect()),
        ..Migrator::DEFAULT
    }
}

/// As the owner, with the record of migrations in a schema of its own: nothing of ours stands in `public`.
async fn connect(owner: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = owner
        .clone()
        .options([("search_path", "counterfoil_migrations")])
        .connect()
        .await?;
    // Under a lock, since `IF NOT EXISTS` alone lets two at once run into each other.
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(hashtext('counterfoil migrate')); CREATE SCHEMA IF NOT EXISTS counterfoil_migrations")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(connection)
}

/// Brings the schema to this build's version. Takes a lock, so that two may run at once.
///
/// # Errors
/// When a migration fails (nothing of it stays), or the database was migrated by a later build.
pub async fn migrate(owner: &PgConnectOptions) -> Result<(), MigrateError> {
    migrate_to(owner, newest_migration()).await
}

/// The version that this build's schema has.
#[must_use]
pub fn newest_migration() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

/// Brings the schema to an earlier build's version: what a backup is loaded into.
///
/// # Errors
/// As [`migrate`]; also when the database is past that version.
pub async fn migrate_to(owner: &PgConnectOptions, version: i64) -> Result<(), MigrateError> {
    let mut connection = connect(owner).await?;
    migrator(version).run_direct(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Takes the schema back to `version` (0: before the first migration). Refused while the log holds events.
///
/// # Errors
/// When a down migration refuses or fails.
pub async fn revert(owner: &PgConnectOptions, version: i64) -> Result<(), MigrateError> {
    let mut connection = connect(owner).await?;
    migrator(newest_migration())
        .undo(&mut connection, version)
        .await?;
    connection.close().await?;
    Ok(())
}

/// Which migrations the database has, and which this build has.
///
/// # Errors
/// When Postgres does not answer.
pub async fn applied_versions(owner: &PgConnectOptions) -> Result<(Vec<i64>, Vec<i64>), MigrateError> {
    let mut connection = connect(owner).await?;
    connection.ensure_migrations_table().await?;
    let applied = connection
        .list_applied_migrations()
        .await?
        .iter()
        .map(|migration| migration.version)
        .collect();
    connection.close().await?;
    Ok((applied, MIGRATIONS.iter().map(|(version, ..)| *version).collect()))
}
