//! Auditing the log where it is kept: `audit verify` over Postgres, JetStream or an export file, `audit export`,
//! head notes, replay.
//!
//! What is right is decided by `counterfoil_events::verify`, which does no I/O. The parts here fetch what it is fed:
//! raw rows and messages, believed in nothing, so that damage is a finding and not an error.

mod destination;
mod documents;
mod error;
mod export;
mod file;
mod head_notes;
mod jetstream;
mod keys;
mod logs;
mod notes;
mod postgres;
mod reconcile;
mod replay;
mod rows;
mod summary;

pub use error::AuditError;
pub use export::{Export, Exported, export};
pub use file::verify_file;
pub use head_notes::{HeadNotes, note_at_intervals};
pub use jetstream::JetStreamAudit;
pub use keys::Keys;
pub use postgres::PostgresAudit;
pub use reconcile::{Reconcile, Reconciled};
pub use replay::{
    AsOf, AsOfError, CrossCheck, Difference, EndOfLog, Replay, ReplayScope, Replayed, ReplayedEvent,
};
pub use summary::{Progress, Summary};

/// What a verification covers and how.
#[derive(Debug, Clone)]
pub struct Scope {
    /// One tenant's log; all if none.
    pub tenant: Option<counterfoil_events::ids::TenantId>,
    /// From which position on.
    pub from: counterfoil_events::ids::Position,
    /// Signatures too, and with how many threads.
    pub options: counterfoil_events::verify::Options,
    /// Head notes from elsewhere that the log has to be consistent with.
    pub head_notes: Vec<String>,
}
