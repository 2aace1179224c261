//! Takes a backup, while the system runs or not.
//!
//! 1. A directory beside the place where the backup will lie, mode 0700.
//! 2. One transaction, one snapshot: what the schema is, where every log ends, who signs; then every table. Events are
//!    checked as they pass (`check.rs`); what is found goes to the caller, and the backup is written all the same.
//! 3. The keys, if they are wanted: the key at hand must be the one that signs in the snapshot. It goes in as it is
//!    sealed; the key-encryption key never does.
//! 4. The manifest; everything synced; then the directory gets its name. **Only now there is a backup.**

use std::path::{Path, PathBuf};

use counterfoil_events::ids::{EventHash, KeyId, Position, TenantId};
use counterfoil_events::timestamp::{Clock, SystemClock};
use counterfoil_events::verify::Findings;
use futures::TryStreamExt;
use serde::Serialize;
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use uuid::Uuid;

use super::check::LogCheck;
use super::error::BackupError;
use super::file::{self, Written};
use super::manifest::{self, BackedUpLog, FileEntry, Manifest};
use super::tables::{TABLES, Table};
use crate::audit::{AuditError, Keys, Progress};
use crate::config::{Config, PostgresRole};
use crate::signing::{self, KeyFile, SealedKey};

/// Bytes in the one way that is read back here, whatever the server is set to.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL bytea_output = 'hex'";
const END: &str = "COMMIT";
const SCHEMA: &str = "SELECT max(version) FROM counterfoil_migrations._sqlx_migrations WHERE success";
const POSTGRES: &str = "SELECT current_setting('server_version')";
const HEADS: &str =
    "SELECT tenant_id, partition, position, hash FROM counterfoil.chain_heads ORDER BY tenant_id";

/// A backup to be taken.
#[derive(Debug)]
pub struct Backup<'a> {
    /// Of which installation.
    pub config: &'a Config,
    /// The directory that it will be; it is not there yet.
    pub out: &'a Path,
    /// Whether signing key and pepper go in.
    pub with_keys: bool,
}

/// A backup that was taken.
#[derive(Debug, Serialize)]
pub struct BackedUp {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
    /// How many bytes its files have together.
    pub bytes: u64,
    /// What is wrong with the logs in it, event by event. They are there as Postgres has them.
    pub findings: Findings,
}

impl Backup<'_> {
    /// Takes it.
    ///
    /// # Errors
    /// See [`BackupError`]; then there is no directory, and the installation is as it was.
    pub async fn take(&self, progress: &dyn Progress) -> Result<BackedUp, BackupError> {
        if self.out.exists() {
            return Err(BackupError::Exists(self.out.to_owned()));
        }
        let draft = Draft::begin(self.out)?;
        let (manifest, findings) = self.fill(&draft.path, progress).await?;
        draft.publish(self.out)?;
        let path = self.out.canonicalize().map_err(BackupError::io(self.out))?;
        let bytes = manifest.files.iter().map(|file| file.bytes).sum();
        Ok(BackedUp {
            path,
            manifest,
            bytes,
            findings,
        })
    }

    async fn fill(&self, draft: &Path, progress: &dyn Progress) -> Result<(Manifest, Findings), BackupError> {
        let log = self.config.postgres.connect_as(PostgresRole::Log);
        let mut connection = log.connect().await?;
        let (mut manifest, keys) = begin_snapshot(&mut connection).await?;
        progress.begin(manifest.events());
        let mut passing = Passing {
            progress,
            check: LogCheck::begin(keys, &manifest.logs),
        };
        for table in &TABLES {
            let entry = copy_out(&mut connection, draft, table, &mut passing).await?;
            manifest.files.push(entry);
        }
        let findings = passing.check.end().await?;
        sqlx::raw_sql(END).execute(&mut connection).await?;
        connection.close().await?;
        if self.with_keys {
            manifest
                .files
                .extend(self.copy_keys(draft, manifest.key_id).await?);
            manifest.has_keys = true;
        }
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| BackupError::NoBackup {
            path: draft.to_owned(),
            reason: error.to_string(),
        })?;
        let written = file::write(draft, manifest::NAME, &text).await;
        written.map_err(BackupError::io(draft))?;
        Ok((manifest, findings))
    }

    /// Step 3.
    async fn copy_keys(&self, draft: &Path, expected: KeyId) -> Result<[FileEntry; 2], BackupError> {
        // Opened, too: a backup of a key that no KMS at hand opens would be found out too late.
        let key_file = KeyFile::configured(self.config)?;
        if key_file.find_key(expected).await?.is_none() {
            return Err(BackupError::OtherKey {
                path: key_file.path().to_owned(),
                found: key_file.id()?,
                expected,
            });
        }
        let sealed = SealedKey::read(key_file.path())?.to_text();
        let key = file::write(draft, manifest::SIGNING_KEY, sealed.as_bytes()).await;
        let key = key.map_err(BackupError::io(draft))?;
        let pepper = signing::load_secret(&self.config.auth.key_pepper_file)?;
        let pepper = zeroize::Zeroizing::new(hex::encode(pepper.as_ref()));
        let pepper = file::write(draft, manifest::PEPPER, pepper.as_bytes()).await;
        Ok([key, pepper.map_err(BackupError::io(draft))?])
    }
}

/// Step 2: the snapshot, and what it says of itself.
async fn begin_snapshot(connection: &mut PgConnection) -> Result<(Manifest, Keys), BackupError> {
    sqlx::raw_sql(BEGIN).execute(&mut *connection).await?;
    let schema: Option<i64> = sqlx::query_scalar(SCHEMA)
        .fetch_one(&mut *connection)
        .await
        .map_err(no_schema)?;
    let keys = Keys::from_postgres(&mut *connection, None).await?;
    // Where the very first key event is damaged, none is trusted: that it signed itself is then its own word.
    let own_word = || keys.events.last().map(|event| event.key_id);
    let newest = keys.trusted.newest().or_else(own_word);
    let newest = newest.ok_or(BackupError::Audit(AuditError::NoKeys))?;
    let manifest = Manifest {
        format: manifest::FORMAT,
        taken_at: SystemClock.now(),
        counterfoil: env!("CARGO_PKG_VERSION").to_owned(),
        schema: schema.ok_or(BackupError::NoSchema)?,
        postgres: sqlx::query_scalar(POSTGRES).fetch_one(&mut *connection).await?,
        root: keys.trusted.root(),
        key_id: newest,
        has_keys: false,
        logs: heads(connection).await?,
        files: Vec::new(),
    };
    Ok((manifest, keys))
}

/// No such table or schema, or no right to look: from before this version's migrations.
fn no_schema(error: sqlx::Error) -> BackupError {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    match code.as_deref() {
        Some("42P01" | "3F000" | "42501") => BackupError::NoSchema,
        _ => error.into(),
    }
}

/// Every log and where it ends.
pub(super) async fn heads(connection: &mut PgConnection) -> Result<Vec<BackedUpLog>, sqlx::Error> {
    let rows = sqlx::query(HEADS).fetch_all(connection).await?;
    let log = |row: &sqlx::postgres::PgRow| {
        let hash: Vec<u8> = row.try_get(3)?;
        Ok(BackedUpLog {
            tenant: TenantId(row.try_get::<Uuid, _>(0)?),
            partition: u32::try_from(row.try_get::<i32, _>(1)?).unwrap_or(0),
            position: Position::from_i64(row.try_get(2)?),
            hash: EventHash::try_from(hash.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?,
        })
    };
    rows.iter().map(log).collect()
}

/// What is told of events while they pass.
struct Passing<'a> {
    progress: &'a dyn Progress,
    check: LogCheck,
}

async fn copy_out(
    connection: &mut PgConnection,
    draft: &Path,
    table: &Table,
    passing: &mut Passing<'_>,
) -> Result<FileEntry, BackupError> {
    let io = BackupError::io(draft);
    let mut file = Written::create(draft, table.file).await.map_err(&io)?;
    let mut chunks = connection.copy_out_raw(table.copy_out).await?;
    let mut rows = 0;
    while let Some(chunk) = chunks.try_next().await? {
        // In this format a line is a row: newlines within values are escaped.
        let more = bytecount(&chunk);
        rows += more;
        if table.name == "events" {
            passing.progress.advance(more);
            passing.check.take(&chunk).await?;
        }
        file.write(&chunk).await.map_err(&io)?;
    }
    file.finish(Some(rows)).await.map_err(&io)
}

fn bytecount(chunk: &[u8]) -> u64 {
    chunk.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// A directory that becomes the backup, or goes.
struct Draft {
    path: PathBuf,
    published: bool,
}

impl Draft {
    /// Step 1. An interrupted attempt at the same place is removed.
    fn begin(out: &Path) -> Result<Self, BackupError> {
        let mut path = out.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let io = BackupError::io(&path);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(&io)?;
        Ok(Self {
            path,
            published: false,
        })
    }

    /// Step 4.
    fn publish(mut self, out: &Path) -> Result<(), BackupError> {
        let sync = |path: &Path| std::fs::File::open(path).and_then(|directory| directory.sync_all());
        let above = out
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let published = sync(&self.path)
            .and_then(|()| std::fs::rename(&self.path, out))
            .and_then(|()| sync(above));
        published.map_err(BackupError::io(out))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed is removed by the next attempt.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
