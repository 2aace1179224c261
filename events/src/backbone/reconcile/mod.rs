//! Comparing the two copies of every log whole, and putting back what one of them lost.
//!
//! [`examine`] reads each stream from its beginning and holds every message to the ledger: what is missing where
//! (prefix, middle, tail, with counts), what differs, what is damaged or strange. [`repair`] then
//!
//! 1. puts back into Postgres what only the stream still has: events that continue a log's chain from its head, with
//!    hash, signature and sequence verified; the platform's log first, since it holds the keys and creates tenants,
//! 2. lets tenants out of quarantine whose ledger lacks nothing that the stream has, and agrees with it,
//! 3. makes a stream anew that lost or gained messages, and waits until it is filled from Postgres.
//!
//! What it cannot put back, it names: documents (they are not on the stream), idempotency records, a hole in the
//! stream in front of the rest, two events at one position. A stream is only made anew when nothing that Postgres
//! lacks would go with it.

mod coverage;
mod examine;
mod repair;
mod report;
mod restore;

pub use examine::examine;
pub use repair::{RepairParts, repair};
pub use report::{Gap, PartitionReport, Reconciliation, Repair, Restored, TenantReport};

use crate::backbone::BackboneError;

/// Copies that cannot be compared or repaired now.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Postgres does not answer, or refuses.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// NATS does not answer, or a stream cannot be used.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A stream was made anew and is not full in time.
    #[error(
        "the stream of partition {partition} still lacks {lag_events} events; the relay goes on filling it"
    )]
    StillFilling {
        /// Which.
        partition: u32,
        /// How many.
        lag_events: u64,
    },
}
