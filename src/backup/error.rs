//! Why a backup could not be taken or restored.

use std::io;
use std::path::{Path, PathBuf};

use counterfoil_events::ids::{Fingerprint, KeyId, TenantId};

use crate::audit::AuditError;
use crate::init::{MigrateError, RolesError};
use crate::signing::KeyFileError;

/// Why a backup could not be taken or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Postgres refused or did not answer.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// A file refuses.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The place of the backup is taken.
    #[error("{0} is there already: a backup never writes over anything. Name a directory that is not there")]
    Exists(PathBuf),
    /// The database has no schema, or one from before backups.
    #[error(
        "the database has no schema that can be backed up: run `counterfoil init` or `counterfoil migrate` first"
    )]
    NoSchema,
    /// The keyring, or the log itself, cannot be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A key file cannot be read or written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key at hand is not the one that signs.
    #[error(
        "the signing key in {path} is {found}, but the log is signed by {expected}: point signing.key_file at the \
         current key, or leave the keys out with --without-key"
    )]
    OtherKey {
        /// Whose key.
        path: PathBuf,
        /// What it holds.
        found: KeyId,
        /// What it should hold.
        expected: KeyId,
    },
    /// It is no backup.
    #[error("{path} is no backup: {reason}")]
    NoBackup {
        /// What was given.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// A later build made it.
    #[error(
        "the backup was made by Counterfoil {counterfoil} with {what} {theirs}, and this build knows up to {ours}: \
         restore it with that version or a later one"
    )]
    Newer {
        /// Its maker.
        counterfoil: String,
        /// Schema or format.
        what: &'static str,
        /// Of the backup.
        theirs: i64,
        /// Of this build.
        ours: i64,
    },
    /// A file is not as it was written.
    #[error(
        "{0} is not as it was backed up (length or BLAKE3 digest differ): take another copy of the backup"
    )]
    Altered(PathBuf),
    /// Not the backup that was meant, or not the root.
    #[error(
        "the backup is of a log whose first key is {found}, and {wanted} was asked for: nothing was changed. One of the two \
         is another log's"
    )]
    OtherRoot {
        /// What the backup says.
        found: Fingerprint,
        /// What was asked for.
        wanted: Fingerprint,
    },
    /// The target is in use.
    #[error(
        "the database {database} holds a log already ({what}): nothing was changed. Restore into an empty one: name \
         another in postgres.database, or remove this one first"
    )]
    NotEmpty {
        /// Which database.
        database: String,
        /// What is in it.
        what: String,
    },
    /// Another key is in the place of the backup's.
    #[error(
        "{0} is there and holds another secret than the backup: nothing was changed. Move it away first; if it is a \
         later key of the same log, put it back after `audit reconcile --repair`"
    )]
    KeyInTheWay(PathBuf),
    /// The backup has no keys, and none is at its place.
    #[error(
        "the backup holds no keys (it was made with --without-key), and {path} is not the one that belongs to it: put \
         it there first{wanted}"
    )]
    KeysMissing {
        /// Where it has to be.
        path: PathBuf,
        /// Which key, in words.
        wanted: String,
    },
    /// What was loaded is not what the manifest says.
    #[error(
        "after loading, the log of {0} does not end where the manifest says: the backup is damaged, nothing was kept"
    )]
    OtherHead(TenantId),
    /// A setting that is needed.
    #[error(
        "{0} is not set: a restore makes roles and schema, as `init` does, and needs its logins; for the servers of \
         `up` name their directory with --data DIR"
    )]
    NotSet(&'static str),
    /// The cluster cannot be prepared.
    #[error(transparent)]
    Roles(#[from] RolesError),
    /// The schema cannot be made.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl BackupError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }
}
