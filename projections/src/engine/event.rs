//! An event as a fold sees it.

use counterfoil_events::envelope::Envelope;
use counterfoil_events::ids::{EventId, Position, Sequence, TenantId};
use counterfoil_events::schema::{DecodeError, EventSourced, decode};
use counterfoil_events::timestamp::Timestamp;
use serde_json::value::RawValue;

use crate::engine::rows::RowKey;

/// An event with its place; the payload is not read yet.
#[derive(Debug, Clone, Copy)]
pub struct FoldEvent<'a> {
    /// Whose log.
    pub tenant: TenantId,
    /// Where in it.
    pub position: Position,
    /// The event's own id.
    pub event_id: EventId,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The kind of aggregate.
    pub aggregate: &'a str,
    /// Which one.
    pub aggregate_id: &'a str,
    /// Where in its history.
    pub sequence: Sequence,
    /// The event's type.
    pub event_type: &'a str,
    /// The payload's schema version.
    pub version: &'a str,
    /// What happened.
    pub payload: &'a RawValue,
}

impl<'a> FoldEvent<'a> {
    /// From an envelope.
    #[must_use]
    pub fn new(envelope: &'a Envelope<'a>) -> Self {
        Self {
            tenant: envelope.tenant,
            position: envelope.position,
            event_id: envelope.event_id,
            recorded_at: envelope.recorded_at,
            aggregate: &envelope.aggregate,
            aggregate_id: &envelope.aggregate_id,
            sequence: envelope.sequence,
            event_type: &envelope.event_type,
            version: &envelope.version,
            payload: envelope.payload,
        }
    }

    /// The row that the event's aggregate has in a table, where its key is the aggregate's id.
    #[must_use]
    pub fn own_row(&self, table: usize) -> RowKey {
        RowKey::new(table, self.tenant, self.aggregate_id)
    }

    /// The payload as an event of `A`, lifted to the current version.
    ///
    /// # Errors
    /// When the type or version is unknown, or the payload is not of its shape.
    pub fn decode<A: EventSourced>(&self) -> Result<A::Event, DecodeError> {
        decode::<A>(self.event_type, self.version, self.payload)
    }
}
