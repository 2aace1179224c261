//! The rows of KRIs, measurements, sources and runs, and how events change them.

use counterfoil_events::ids::{KriSourceId, PayloadDigest, Position};
use counterfoil_events::kri::aggregates::KriId;
use counterfoil_events::kri::aggregates::indicator::{KriDefinition, KriEvent};
use counterfoil_events::kri::aggregates::run::KriRunEvent;
use counterfoil_events::kri::source::SourceConfig;
use counterfoil_events::kri::status::KriStatus;
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Latest, Measurement};
use crate::engine::FoldEvent;

/// A KRI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KriRow {
    /// What it is.
    pub definition: KriDefinition,
    /// Whether it is measured no more.
    pub retired: bool,
    /// Its latest measurement and the one before.
    #[serde(flatten)]
    pub measured: Latest,
    /// When it was defined.
    pub defined_at: Timestamp,
    /// The last event that the row stands on.
    pub position: Position,
}

impl KriRow {
    pub(super) fn defined(definition: KriDefinition, event: &FoldEvent<'_>) -> Self {
        Self {
            definition,
            retired: false,
            measured: Latest::default(),
            defined_at: event.recorded_at,
            position: event.position,
        }
    }

    pub(super) fn measured(&mut self, measurement: Measurement) {
        self.measured.take(measurement);
    }

    /// Its status at `at`.
    #[must_use]
    pub fn status_at(&self, at: Timestamp) -> KriStatus {
        self.measured
            .latest
            .as_ref()
            .map_or(KriStatus::Missing, |latest| latest.status_at(at))
    }
}

/// What an event says that a KRI is; none if it retires it.
pub(crate) fn definition(change: &KriEvent) -> Option<KriDefinition> {
    match change.clone() {
        KriEvent::KriDefined {
            name,
            unit,
            bands,
            schedule,
        }
        | KriEvent::KriChanged {
            name,
            unit,
            bands,
            schedule,
        } => Some(KriDefinition {
            name,
            unit,
            bands,
            schedule,
        }),
        KriEvent::KriRetired { .. } => None,
    }
}

/// One measurement of a KRI's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasurementRow {
    /// Of which KRI.
    pub kri: KriId,
    /// When it was so.
    pub measured_at: Timestamp,
    /// The value and how it is judged.
    pub measurement: Measurement,
    /// From which source.
    pub source: KriSourceId,
    /// By which run.
    pub run: String,
    /// Digest of the bytes that it was read from.
    pub payload_digest: PayloadDigest,
}

impl MeasurementRow {
    pub(super) fn of(event: &FoldEvent<'_>, change: KriRunEvent, measurement: Measurement) -> Option<Self> {
        let KriRunEvent::KriRunCompleted {
            kri,
            source,
            payload_digest,
            ..
        } = change
        else {
            return None;
        };
        Some(Self {
            kri,
            measured_at: measurement.measured_at,
            measurement,
            source,
            run: event.aggregate_id.to_owned(),
            payload_digest,
        })
    }
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// The KRI that it measures.
    pub kri: KriId,
    /// `csv`, `http_json` or `ledger`.
    pub kind: String,
    /// Why it may not be run, if so.
    pub disabled: Option<Code>,
    /// How it measures. A CSV text is named by its document, a credential by its secret.
    pub config: SourceConfig,
    /// The last event that the row stands on.
    pub position: Position,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Nobody has taken it yet.
    Requested,
    /// A runner holds it.
    Started,
    /// There is a value.
    Completed,
    /// There is none.
    Failed,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// The KRI to measure.
    pub kri: KriId,
    /// From which source.
    pub source: KriSourceId,
    /// How it stands.
    pub state: RunState,
    /// 0 before it was taken; then 1, 2, 3.
    pub attempt: u32,
    /// Who holds or held it.
    pub runner: Option<Code>,
    /// Until when nobody else may take it.
    pub lease_until: Option<Timestamp>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub code: Option<Code>,
    /// The value.
    pub value: Option<KriValue>,
    /// When it was so.
    pub measured_at: Option<Timestamp>,
    /// The last event that the row stands on.
    pub position: Position,
}

impl RunRow {
    /// The row that a run's first event makes; none for any other event.
    pub(super) fn requested(event: &FoldEvent<'_>, change: &KriRunEvent) -> Option<Self> {
        let KriRunEvent::KriRunRequested {
            kri,
            source,
            measured_at,
        } = change
        else {
            return None;
        };
        Some(Self {
            kri: kri.clone(),
            source: *source,
            state: RunState::Requested,
            attempt: 0,
            runner: None,
            lease_until: None,
            requested_at: event.recorded_at,
            ended_at: None,
            code: None,
            value: None,
            measured_at: *measured_at,
            position: event.position,
        })
    }

    pub(super) fn after(mut self, event: &FoldEvent<'_>, change: &KriRunEvent) -> Self {
        match change {
            // A first event never comes here: `requested` takes it.
            KriRunEvent::KriRunRequested { .. } => {}
            KriRunEvent::KriRunStarted {
                runner,
                attempt,
                lease_until,
            } => {
                self.state = RunState::Started;
                self.attempt = *attempt;
                self.runner = Some(runner.clone());
                self.lease_until = Some(*lease_until);
            }
            KriRunEvent::KriRunCompleted {
                value, measured_at, ..
            } => {
                self.state = RunState::Completed;
                self.value = Some(*value);
                self.measured_at = Some(*measured_at);
                self.ended_at = Some(event.recorded_at);
            }
            KriRunEvent::KriRunFailed { code, .. } => {
                self.state = RunState::Failed;
                self.code = Some(code.clone());
                self.ended_at = Some(event.recorded_at);
            }
        }
        self.position = event.position;
        self
    }
}
