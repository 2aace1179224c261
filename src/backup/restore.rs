//! Restores a backup into an installation that has no log yet.
//!
//! 1. The backup is whole (`whole.rs`): the caller has seen to that before any server was started for it.
//! 2. The target is free: no other key in the place of the backup's, a KMS that opens it (`secrets.rs`), and no log in the
//!    database.
//! 3. Roles and database, and the schema as it was when the backup was taken.
//! 4. The tables, in one transaction, which ends only if every log then ends where the manifest says. **Its COMMIT is
//!    what restores.**
//! 5. The schema as this build has it.
//! 6. The proof: chain, signatures, documents and head notes of every log.
//! 7. The keys, last: without them nothing can be appended to a log that was not proven.

use std::path::{Path, PathBuf};

use counterfoil_events::ids::{Fingerprint, Position};
use counterfoil_events::ledger::Database;
use counterfoil_events::verify::Options;
use serde::Serialize;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::error::BackupError;
use super::file;
use super::manifest::{self, BackedUpLog, FileEntry, Manifest};
use super::secrets::Secrets;
use super::tables::{TABLES, Table};
use super::take::heads;
use super::whole::WholeBackup;
use crate::audit::{Keys, PostgresAudit, Progress, Scope, Summary};
use crate::config::{Config, PostgresRole};
use crate::init;

const LOG_THERE: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                         WHERE n.nspname = 'counterfoil' AND c.relname = 'chain_heads')";
/// As `counterfoil_log`: an owner that row-level security binds would see nothing and find every log empty.
const IN_USE: &str =
    "SELECT (SELECT count(*) FROM counterfoil.chain_heads) + (SELECT count(*) FROM counterfoil.head_notes)";
/// As the owner: the log is written by its own role alone, which may write head notes for as long as this takes.
const BEGIN: &str =
    "BEGIN; GRANT INSERT ON counterfoil.head_notes TO counterfoil_append; SET LOCAL ROLE counterfoil_append";
const END: &str = "RESET ROLE; REVOKE INSERT ON counterfoil.head_notes FROM counterfoil_append; COMMIT";
const ANALYZE: &str =
    "ANALYZE counterfoil.chain_heads, counterfoil.events, counterfoil.documents, counterfoil.head_notes";
const DATABASE_THERE: &str = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";

/// A restore to be done.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The backup.
    pub backup: &'a WholeBackup,
    /// Into which installation; with the logins that `init` needs.
    pub config: &'a Config,
    /// The first key's fingerprint as the auditor has it; the backup's own word, if none.
    pub root: Option<Fingerprint>,
}

/// A restore that was done.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// What was in the backup.
    pub manifest: Manifest,
    /// What the verifier says of the log now.
    pub verified: Summary,
    /// The keys that were put in place; none if they were there, or if the proof failed.
    pub keys: Vec<PathBuf>,
}

impl Restore<'_> {
    /// Does it.
    ///
    /// # Errors
    /// See [`BackupError`]; before step 4 has committed, nothing is restored, and the same call may be repeated.
    pub async fn run(
        &self,
        loading: &dyn Progress,
        verifying: &dyn Progress,
    ) -> Result<Restored, BackupError> {
        let manifest = &self.backup.manifest;
        if let Some(wanted) = self.root.filter(|wanted| *wanted != manifest.root) {
            let found = manifest.root;
            return Err(BackupError::OtherRoot { found, wanted });
        }
        let secrets = Secrets::configured(self.config)?;
        secrets.check(self.backup).await?;
        self.check_database().await?;
        self.make_schema(manifest).await?;
        loading.begin(manifest.events());
        self.load(manifest, loading).await?;
        let owner = self.config.postgres.connect_as(PostgresRole::Owner);
        init::migrate(&owner).await?;
        let verified = self.verify(manifest, verifying).await?;
        let keys = if verified.findings.is_empty() && manifest.has_keys {
            secrets.place(self.backup).await?
        } else {
            Vec::new()
        };
        Ok(Restored {
            manifest: manifest.clone(),
            verified,
            keys,
        })
    }

    /// Step 2.
    async fn check_database(&self) -> Result<(), BackupError> {
        let (admin, database) = (self.admin()?, &self.config.postgres.database);
        let mut connection = admin.database("postgres").connect().await?;
        let there: bool = sqlx::query_scalar(DATABASE_THERE)
            .bind(database)
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        if !there {
            return Ok(());
        }
        let mut connection = self.admin()?.connect().await?;
        let log_there: bool = sqlx::query_scalar(LOG_THERE).fetch_one(&mut connection).await?;
        connection.close().await?;
        match if log_there { self.rows_there().await? } else { 0 } {
            0 => Ok(()),
            rows => Err(BackupError::NotEmpty {
                database: database.clone(),
                what: format!("{rows} heads and head notes"),
            }),
        }
    }

    async fn rows_there(&self) -> Result<i64, BackupError> {
        let log = self.config.postgres.connect_as(PostgresRole::Log);
        let mut connection = log.connect().await?;
        let rows = sqlx::query_scalar(IN_USE).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(rows)
    }

    /// Step 3.
    async fn make_schema(&self, manifest: &Manifest) -> Result<(), BackupError> {
        let logins = init::logins(self.config).map_err(BackupError::NotSet)?;
        let postgres = &self.config.postgres;
        init::prepare_cluster(&self.admin()?.database("postgres"), &postgres.database, &logins).await?;
        init::migrate_to(&postgres.connect_as(PostgresRole::Owner), manifest.schema).await?;
        Ok(())
    }

    /// Step 4.
    async fn load(&self, manifest: &Manifest, progress: &dyn Progress) -> Result<(), BackupError> {
        let owner = self.config.postgres.connect_as(PostgresRole::Owner);
        let mut connection = owner.connect().await?;
        sqlx::raw_sql(BEGIN).execute(&mut connection).await?;
        for table in &TABLES {
            let entry = manifest
                .file(table.file)
                .ok_or_else(|| manifest::lacks(&self.backup.from, table.file))?;
            copy_in(&mut connection, &self.backup.from, entry, table, progress).await?;
        }
        same_heads(&heads(&mut connection).await?, &manifest.logs)?;
        sqlx::raw_sql(END).execute(&mut connection).await?;
        // The planner would take a table that was just filled for an empty one.
        sqlx::raw_sql(ANALYZE).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// Step 6.
    async fn verify(&self, manifest: &Manifest, progress: &dyn Progress) -> Result<Summary, BackupError> {
        let database = Database::new(&self.config.postgres.database_options());
        let verified = async {
            let root = self.root.unwrap_or(manifest.root);
            let keys = Keys::from_postgres(database.log(), Some(root)).await?;
            let scope = Scope {
                tenant: None,
                from: Position(1),
                options: Options::default(),
                head_notes: Vec::new(),
            };
            let audit = PostgresAudit::new(database.log().clone(), keys, scope);
            audit.run(progress).await
        };
        let verified = verified.await;
        database.close().await;
        Ok(verified?)
    }

    fn admin(&self) -> Result<sqlx::postgres::PgConnectOptions, BackupError> {
        let admin = self.config.postgres.connect_as_admin();
        admin.ok_or(BackupError::NotSet("postgres.admin_user"))
    }
}

/// Both are in the order of their tenants.
fn same_heads(loaded: &[BackedUpLog], expected: &[BackedUpLog]) -> Result<(), BackupError> {
    let odd = loaded
        .iter()
        .zip(expected)
        .find(|(loaded, expected)| loaded != expected);
    let longer = [loaded, expected].map(|logs| logs.get(loaded.len().min(expected.len())));
    match odd.map(|(loaded, _)| loaded).or(longer[0]).or(longer[1]) {
        Some(log) => Err(BackupError::OtherHead(log.tenant)),
        None => Ok(()),
    }
}

async fn copy_in(
    connection: &mut PgConnection,
    from: &Path,
    entry: &FileEntry,
    table: &Table,
    progress: &dyn Progress,
) -> Result<(), BackupError> {
    let mut copy = connection.copy_in_raw(table.copy_in).await?;
    let fed = file::read(from, entry, async |chunk| {
        copy.send(chunk).await?;
        if table.name == "events" {
            progress.advance(chunk.iter().filter(|byte| **byte == b'\n').count() as u64);
        }
        Ok(())
    })
    .await;
    match fed {
        Ok(()) => copy.finish().await.map(drop)?,
        Err(error) => {
            // The transaction ends with the connection either way; the first error is the one to tell.
            let _ = copy.abort("the backup cannot be read").await;
            return Err(error);
        }
    }
    Ok(())
}
