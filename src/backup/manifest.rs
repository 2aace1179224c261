//! `manifest.json`: what a backup holds, and how to tell that it is whole.

use std::path::Path;

use counterfoil_events::ids::{EventHash, Fingerprint, KeyId, Position, TenantId};
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::tables::TABLES;
use crate::init;

/// The name of the manifest in a backup.
pub(super) const NAME: &str = "manifest.json";
/// The file of the signing key in a backup.
pub(super) const SIGNING_KEY: &str = "signing.key";
/// The file of the pepper in a backup.
pub(super) const PEPPER: &str = "key.pepper";
/// The layout of backups that this build writes and reads.
pub(super) const FORMAT: u32 = 3;

/// What a backup holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of the directory and columns of its tables.
    pub format: u32,
    /// When the snapshot was taken, by the clock of the machine that took it.
    pub taken_at: Timestamp,
    /// The version of Counterfoil that took it.
    pub counterfoil: String,
    /// The schema's version: the last migration that the database had had.
    pub schema: i64,
    /// The version of its Postgres.
    pub postgres: String,
    /// Fingerprint of the first signing key, on the log's own word.
    pub root: Fingerprint,
    /// The key that signed when the snapshot was taken.
    pub key_id: KeyId,
    /// Whether signing key and pepper are inside.
    pub has_keys: bool,
    /// Every log, and where it ends in this backup.
    pub logs: Vec<BackedUpLog>,
    /// Every file but this one.
    pub files: Vec<FileEntry>,
}

/// One tenant's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackedUpLog {
    /// Whose.
    pub tenant: TenantId,
    /// The backbone partition that carries it.
    pub partition: u32,
    /// Its last position.
    pub position: Position,
    /// The hash there.
    pub hash: EventHash,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Rows, for a table.
    pub rows: Option<u64>,
    /// BLAKE3 of its bytes, 64 hexadecimal digits.
    pub blake3: String,
}

impl Manifest {
    /// The manifest of the backup in `from`, if this build can restore it. Its files are not looked at.
    ///
    /// # Errors
    /// When there is none, or it is of a later build.
    pub fn read(from: &Path) -> Result<Self, BackupError> {
        let path = from.join(NAME);
        let text = std::fs::read(&path).map_err(BackupError::io(&path))?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| BackupError::NoBackup {
            path: from.to_owned(),
            reason: format!("{}: {error}", NAME),
        })?;
        let newer = |what, theirs, ours| BackupError::Newer {
            counterfoil: manifest.counterfoil.clone(),
            what,
            theirs,
            ours,
        };
        if manifest.format > FORMAT {
            return Err(newer("format", manifest.format.into(), FORMAT.into()));
        }
        let ours = init::newest_migration();
        if manifest.schema > ours {
            return Err(newer("schema", manifest.schema, ours));
        }
        let keys: &[&str] = if manifest.has_keys {
            &[SIGNING_KEY, PEPPER]
        } else {
            &[]
        };
        let tables = TABLES.iter().map(|table| table.file);
        match tables
            .chain(keys.iter().copied())
            .find(|name| manifest.file(name).is_none())
        {
            Some(missing) => Err(lacks(from, missing)),
            None => Ok(manifest),
        }
    }

    /// How many events all logs hold together.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.logs.iter().map(|log| log.position.0).sum()
    }

    /// The entry of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// No backup without this file.
pub(super) fn lacks(from: &Path, missing: &str) -> BackupError {
    BackupError::NoBackup {
        path: from.to_owned(),
        reason: format!("its manifest names no {missing}"),
    }
}
