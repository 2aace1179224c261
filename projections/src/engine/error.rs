//! Why the engine stops.

use counterfoil_events::envelope::EnvelopeError;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::schema::DecodeError;

use crate::engine::projection::FoldError;

/// What is wrong with a stored event.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It is no envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It is the envelope of another place.
    #[error("its envelope is that of tenant {tenant} position {position}")]
    Misplaced {
        /// Whose.
        tenant: TenantId,
        /// Where.
        position: Position,
    },
}

/// The engine's failures. Poisoned events are none of them: those are parked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Postgres does not answer, or refuses.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// Somebody else has written this version, so what was at hand of it may be wrong; nothing was written.
    #[error("{projection} v{version} is not where it was left: another process feeds it")]
    Fenced {
        /// Which projection.
        projection: &'static str,
        /// Which version.
        version: i32,
    },
    /// This build is older than the log.
    #[error(transparent)]
    TooOld(DecodeError),
    /// A stored envelope is not one, or is not this event's.
    #[error("tenant {tenant} position {position}: {source}; run `counterfoil audit verify`")]
    Damaged {
        /// Whose log.
        tenant: TenantId,
        /// Where.
        position: Position,
        /// What is wrong.
        source: Damage,
    },
    /// A row could not be stored.
    #[error("storing rows: {0}")]
    Store(#[source] FoldError),
    /// There is no such version, or it is not in the state that is needed.
    #[error("{0}")]
    Version(String),
    /// A rebuild of this projection is under way.
    #[error(
        "a rebuild of {0} is under way: wait for it, or cancel it with `counterfoil projections rebuild {0} --cancel`"
    )]
    RebuildUnderWay(String),
    /// The rebuild was cancelled.
    #[error("the rebuild of {0} was cancelled; start it again to resume")]
    Cancelled(String),
}
