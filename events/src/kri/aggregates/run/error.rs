//! Why a command to a run is refused.

use super::{MAX_ATTEMPTS, MAX_LEASE_MS};
use crate::rejection::{Rejection, RejectionKind};
use crate::timestamp::Timestamp;

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KriRunError {
    /// There is no such run.
    #[error("there is no such KRI run: request it first")]
    NotFound,
    /// Its id is taken.
    #[error("a KRI run with this id already exists: take another id")]
    AlreadyExists,
    /// Completed or failed before.
    #[error("the KRI run has ended already: request another one")]
    AlreadyEnded,
    /// Nobody has started it.
    #[error("the KRI run has not been started: start it first")]
    NotStarted,
    /// Somebody holds it.
    #[error("another runner holds the KRI run until {until}")]
    LeaseHeld {
        /// Until when.
        until: Timestamp,
    },
    /// Not a lease.
    #[error("the lease of {lease_ms} ms is out of range: take 1 to {MAX_LEASE_MS} ms")]
    LeaseOutOfRange {
        /// Asked for.
        lease_ms: u32,
    },
    /// Another attempt has taken over.
    #[error(
        "attempt {attempt} of the KRI run was superseded by attempt {newest} of {MAX_ATTEMPTS}: drop its value"
    )]
    Superseded {
        /// Which attempt asks.
        attempt: u32,
        /// The newest.
        newest: u32,
    },
    /// History only.
    #[error("measured_at is in the future: give a past time, or none")]
    MeasuredInTheFuture,
}

impl Rejection for KriRunError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "kri_run_not_found",
            Self::AlreadyExists => "kri_run_already_exists",
            Self::AlreadyEnded => "kri_run_already_ended",
            Self::NotStarted => "kri_run_not_started",
            Self::LeaseHeld { .. } => "kri_run_lease_held",
            Self::LeaseOutOfRange { .. } => "kri_run_lease_out_of_range",
            Self::Superseded { .. } => "kri_run_superseded",
            Self::MeasuredInTheFuture => "kri_run_measured_in_the_future",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::LeaseOutOfRange { .. } => RejectionKind::Invalid { field: "lease_ms" },
            Self::MeasuredInTheFuture => RejectionKind::Invalid { field: "measured_at" },
            Self::AlreadyExists
            | Self::AlreadyEnded
            | Self::NotStarted
            | Self::LeaseHeld { .. }
            | Self::Superseded { .. } => RejectionKind::Conflict,
        }
    }
}
