//! What one reading of a source yields, and its two views: the measurement of a run, the report of a test.

use serde::Serialize;

use counterfoil_events::ids::PayloadDigest;
use counterfoil_events::kri::aggregates::PositionVector;
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::timestamp::Timestamp;

use super::credential::Credential;

/// Most characters of a payload that a test shows: enough to recognise a document, too few to read one.
const PREVIEW_CHARACTERS: usize = 200;

/// What a run measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measurement {
    /// The value.
    pub value: KriValue,
    /// When the source says that it was observed.
    pub observed_at: Option<Timestamp>,
    /// BLAKE3 of the bytes that it was read from.
    pub payload_digest: PayloadDigest,
    /// How many bytes those are.
    pub payload_bytes: u32,
    /// For a measurement of the platform itself: how far it read which logs.
    pub positions: Option<PositionVector>,
}

/// A measurement with what helps to judge it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    /// What a run would record.
    pub measurement: Measurement,
    /// How many rows it was computed from, for a table.
    pub rows: Option<u64>,
    /// The beginning of the payload.
    pub preview: String,
}

/// What a test tells the source's owner. It is shown once and never kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TestReport {
    /// The source's kind.
    pub kind: &'static str,
    /// The value that a run would record.
    pub value: KriValue,
    /// When the source says that it was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
    /// How many bytes were read.
    pub payload_bytes: u32,
    /// BLAKE3 of those bytes.
    pub payload_digest: PayloadDigest,
    /// How many rows the value was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The first 200 characters read, control characters blanked.
    pub preview: String,
}

impl Sample {
    pub(super) fn of(payload: &str, value: KriValue, observed_at: Option<Timestamp>) -> Self {
        Self {
            measurement: Measurement {
                value,
                observed_at,
                payload_digest: PayloadDigest(*blake3::hash(payload.as_bytes()).as_bytes()),
                // A payload has at most 64 MiB: `FetchConfig::validate`, and less in a document.
                payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
                positions: None,
            },
            rows: None,
            preview: preview(payload),
        }
    }

    /// Without its preview, where the source's answer repeats what it was asked with.
    pub(super) fn withheld_if_echoed(self, payload: &str, credential: Option<&Credential>) -> Self {
        if !credential.is_some_and(|credential| credential.is_in(payload)) {
            return self;
        }
        Self {
            preview: "withheld: the source's answer repeats its credential".to_owned(),
            ..self
        }
    }
}

impl TestReport {
    pub(super) fn new(kind: &'static str, sample: Sample) -> Self {
        let measurement = sample.measurement;
        Self {
            kind,
            value: measurement.value,
            observed_at: measurement.observed_at,
            payload_bytes: measurement.payload_bytes,
            payload_digest: measurement.payload_digest,
            rows: sample.rows,
            preview: sample.preview,
        }
    }
}

fn preview(payload: &str) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    payload.chars().take(PREVIEW_CHARACTERS).map(blank).collect()
}
