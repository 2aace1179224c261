//! Why an audit could not be carried out. What it *finds* is never an error.

use std::path::{Path, PathBuf};

use counterfoil_events::backbone::BackboneError;
use counterfoil_events::export::{ReadError, WriteError};
use counterfoil_events::ids::{Position, TenantId};

/// Why an audit could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Postgres refused or did not answer.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// NATS refused or did not answer.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// No such tenant.
    #[error("no tenant {0} is known here: `counterfoil tenants list` shows those that are")]
    NoTenant(TenantId),
    /// The platform log holds no key event.
    #[error("the platform log introduces no signing key: run `counterfoil init` first")]
    NoKeys,
    /// Nothing to export or to note.
    #[error("the log of {0} is empty: there is nothing to sign or to export yet")]
    Empty(TenantId),
    /// The range begins after the end.
    #[error("the log of {tenant} ends at position {head}: nothing stands from {from} on")]
    BeyondHead {
        /// Whose log.
        tenant: TenantId,
        /// What was asked for.
        from: Position,
        /// Where it ends.
        head: Position,
    },
    /// The head and the event it names do not fit together, so nothing may be signed over them.
    #[error(
        "the head of {tenant} at position {position} is not the hash of the event there: no head note is signed over \
         a damaged log; run `counterfoil audit verify --tenant {tenant}`"
    )]
    DamagedHead {
        /// Whose log.
        tenant: TenantId,
        /// Where.
        position: Position,
    },
    /// A head note for this position says something else.
    #[error(
        "a head note for position {position} of {tenant} was released with another hash: the log was forked or restored; \
         run `counterfoil audit verify --tenant {tenant}`"
    )]
    Forked {
        /// Whose log.
        tenant: TenantId,
        /// Where.
        position: Position,
    },
    /// A head note is for an event that an export does not hold.
    #[error(
        "the export {path} begins at position {from}, so the head note for position {position} cannot be held against \
         it: give an export from that position or an earlier one, or leave the note out"
    )]
    NoteBeforeExport {
        /// Which export.
        path: PathBuf,
        /// Where it begins.
        from: Position,
        /// What the note is for.
        position: Position,
    },
    /// A file refuses.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Evidence is not written over by mistake.
    #[error("{0} is there already: name another file, or replace it with --force")]
    Exists(PathBuf),
    /// A file is no export.
    #[error("{path}: {source}")]
    Export {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// The log cannot be exported as it stands.
    #[error("{0}; `counterfoil audit verify` says what is wrong with the log")]
    Unexportable(#[from] WriteError),
    /// An event leads to no state.
    #[error("position {position} cannot be replayed: {detail}; run `counterfoil audit verify`")]
    Unreadable {
        /// Where.
        position: Position,
        /// Why.
        detail: String,
    },
    /// An event that this build does not know.
    #[error(transparent)]
    Unknown(#[from] counterfoil_events::schema::DecodeError),
    /// A part of the audit itself failed.
    #[error("the audit failed: {0}")]
    Internal(#[from] tokio::task::JoinError),
}

impl AuditError {
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
