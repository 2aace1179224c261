//! What may be asked of a run. The present (`now`) is Postgres's, so that all runners measure leases by one clock.

use crate::ids::{KriSourceId, PayloadDigest};
use crate::kri::aggregates::{KriId, PositionVector};
use crate::kri::bands::Bands;
use crate::kri::frequency::Schedule;
use crate::kri::value::KriValue;
use crate::text::Code;
use crate::timestamp::Timestamp;

/// Longest lease: an hour. A runner that needs longer should measure less at once.
pub const MAX_LEASE_MS: u32 = 60 * 60 * 1_000;

/// A command to a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KriRunCommand {
    /// Ask for it.
    Request {
        /// The KRI to measure.
        kri: KriId,
        /// From which source.
        source: KriSourceId,
        /// As of when, to load history; the source or the run says so, if not given.
        measured_at: Option<Timestamp>,
        /// The present, which `measured_at` may not exceed.
        now: Timestamp,
    },
    /// Take it, if nobody holds it. After three lost leases this ends it instead.
    Start {
        /// Which runner asks.
        runner: Code,
        /// For how long it wants to hold it: 1 to [`MAX_LEASE_MS`].
        lease_ms: u32,
        /// The present.
        now: Timestamp,
    },
    /// Record what was measured.
    Complete(Box<Measured>),
    /// Record why there is no value.
    Fail {
        /// Which attempt says so.
        attempt: u32,
        /// Why, as a stable code.
        code: Code,
    },
}

/// What a run measured, with what it is judged by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// Which attempt measured it.
    pub attempt: u32,
    /// The value.
    pub value: KriValue,
    /// When it was so; a time in the request goes before it.
    pub measured_at: Timestamp,
    /// The KRI's bands now.
    pub bands: Bands,
    /// The KRI's schedule now.
    pub schedule: Schedule,
    /// Digest of the bytes that it was read from.
    pub payload_digest: PayloadDigest,
    /// How many bytes those were.
    pub payload_bytes: u32,
    /// How far which logs were read, if it measures the platform itself.
    pub positions: Option<PositionVector>,
}
