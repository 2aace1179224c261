//! What a verifier is fed: events as a store, a stream or a file holds them, believed in nothing.

use crate::envelope::{Envelope, RecordedEvent};
use crate::ids::{EventHash, EventId, KeyId, Position, Sequence};
use crate::signature::Signature;
use crate::timestamp::Timestamp;
use crate::verify::finding::FindingKind;

/// One entry of a log, in the order in which its holder keeps it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An event.
    Event(StoredEvent),
    /// Something that cannot even be read as an event's fields.
    Unreadable {
        /// The position that the holder gives it, if any.
        position: Option<Position>,
        /// What that is: `Malformed`, unless the holder knows better.
        kind: FindingKind,
        /// Why it cannot be read.
        detail: String,
    },
}

/// An event as it is held.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The position under which the holder keeps it: a column or a header. An export has only the envelope's.
    pub position: Option<Position>,
    /// The exact bytes.
    pub envelope: String,
    /// The hash beside them.
    pub hash: EventHash,
    /// The key that is said to have signed.
    pub key_id: KeyId,
    /// The signature beside them.
    pub signature: Signature,
    /// Copies of the envelope's fields that the holder keeps for its indexes.
    pub columns: Option<Box<Columns>>,
}

/// Copies of an envelope's fields; each one that is there must agree with it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Columns {
    /// `event_id`.
    pub event_id: Option<EventId>,
    /// `aggregate`.
    pub aggregate: Option<String>,
    /// `aggregate_id`.
    pub aggregate_id: Option<String>,
    /// `sequence`.
    pub sequence: Option<Sequence>,
    /// `type`.
    pub event_type: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `recorded_at`.
    pub recorded_at: Option<Timestamp>,
}

impl Columns {
    /// The names of those that disagree with the envelope.
    #[must_use]
    pub fn disagreeing(&self, envelope: &Envelope<'_>) -> Vec<&'static str> {
        fn differs<T: PartialEq>(column: Option<T>, field: &T) -> bool {
            column.is_some_and(|column| column != *field)
        }
        [
            ("event_id", differs(self.event_id, &envelope.event_id)),
            (
                "aggregate",
                differs(self.aggregate.as_deref(), &envelope.aggregate.as_ref()),
            ),
            (
                "aggregate_id",
                differs(self.aggregate_id.as_deref(), &envelope.aggregate_id.as_ref()),
            ),
            ("sequence", differs(self.sequence, &envelope.sequence)),
            (
                "type",
                differs(self.event_type.as_deref(), &envelope.event_type.as_ref()),
            ),
            (
                "version",
                differs(self.version.as_deref(), &envelope.version.as_ref()),
            ),
            ("recorded_at", differs(self.recorded_at, &envelope.recorded_at)),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

impl From<RecordedEvent> for Entry {
    fn from(event: RecordedEvent) -> Self {
        Self::Event(StoredEvent {
            position: Some(event.position),
            envelope: event.envelope,
            hash: event.hash,
            key_id: event.key_id,
            signature: event.signature,
            columns: None,
        })
    }
}
