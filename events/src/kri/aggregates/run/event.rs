//! What happens to a run.
//!
//! `KriRunCompleted` and `KriRunFailed` come after the source has been read and must not fail late: their fields are
//! bounded so that no input makes an envelope too large.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{KriSourceId, PayloadDigest};
use crate::kri::aggregates::{KriId, PositionVector};
use crate::kri::bands::{Band, Bands};
use crate::kri::value::KriValue;
use crate::text::Code;
use crate::timestamp::Timestamp;

/// An event of a run, in its tenant's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum KriRunEvent {
    /// Somebody wants a KRI measured.
    KriRunRequested {
        /// The KRI to measure.
        kri: KriId,
        /// From which source.
        source: KriSourceId,
        /// As of when, to load history; the source or the run says so, if not given.
        measured_at: Option<Timestamp>,
    },
    /// A runner holds the run, and measures.
    KriRunStarted {
        /// Which.
        runner: Code,
        /// 1, 2, 3.
        attempt: u32,
        /// Until when nobody else may start it.
        lease_until: Timestamp,
    },
    /// The KRI has a value.
    KriRunCompleted {
        /// The KRI that was measured.
        kri: KriId,
        /// From which source.
        source: KriSourceId,
        /// By which attempt.
        attempt: u32,
        /// The value.
        value: KriValue,
        /// Its colour by the bands.
        status: Band,
        /// The bands of the KRI when it was measured.
        bands: Bands,
        /// When it was so.
        measured_at: Timestamp,
        /// Until when it counts as fresh.
        fresh_until: Timestamp,
        /// Digest of the bytes that it was read from.
        payload_digest: PayloadDigest,
        /// How many bytes those were.
        payload_bytes: u32,
        /// How far which logs were read, if it measures the platform itself.
        positions: Option<PositionVector>,
    },
    /// The run has no value.
    KriRunFailed {
        /// The KRI that was to be measured.
        kri: KriId,
        /// From which source.
        source: KriSourceId,
        /// In which attempt.
        attempt: u32,
        /// Why, as a stable code.
        code: Code,
    },
}
