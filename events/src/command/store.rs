//! cqrs-es's `EventStore` over our ledger, for one request: so that its framework, and its test harness, run on the
//! same log that production writes.

use std::collections::HashMap;

use cqrs_es::{AggregateContext, AggregateError, EventEnvelope, EventStore};

use crate::command::handler::{CommandContext, new_event};
use crate::command::load::{Loaded, StateShape, decode_stored, load};
use crate::ids::Sequence;
use crate::ledger::{AggregateAppend, AppendError, AppendRequest, Sequencer, StoredEvent};
use crate::schema::EventSourced;

/// The ledger as one tenant's request sees it.
pub struct TenantStore {
    sequencer: Sequencer,
    context: CommandContext,
}

impl TenantStore {
    /// For one request.
    #[must_use]
    pub fn new(sequencer: Sequencer, context: CommandContext) -> Self {
        Self { sequencer, context }
    }

    fn metadata(event: &StoredEvent) -> HashMap<String, String> {
        [
            ("tenant", event.recorded.tenant.to_string()),
            ("position", event.recorded.position.to_string()),
            ("event_id", event.event_id.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// An aggregate as it was loaded.
pub struct LoadedContext<A> {
    aggregate_id: String,
    loaded: Loaded<A>,
}

impl<A: EventSourced> AggregateContext<A> for LoadedContext<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.loaded.state
    }
}

fn to_sequence(sequence: Sequence) -> usize {
    usize::try_from(sequence.0).unwrap_or(usize::MAX)
}

impl<A: EventSourced> EventStore<A> for TenantStore {
    type AC = LoadedContext<A>;

    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let reader = self.sequencer.reader();
        let events = reader
            .aggregate(self.context.tenant, A::TYPE, aggregate_id, Sequence::ZERO)
            .await
            .map_err(|error| AggregateError::DatabaseConnectionError(error.into()))?;
        let envelope = |event: &StoredEvent| {
            Ok(EventEnvelope {
                aggregate_id: aggregate_id.to_owned(),
                sequence: to_sequence(event.sequence),
                payload: decode_stored::<A>(event)
                    .map_err(|error| AggregateError::DeserializationError(error.into()))?,
                metadata: Self::metadata(event),
            })
        };
        events.iter().map(envelope).collect()
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<Self::AC, AggregateError<A::Error>> {
        let pool = self.sequencer.database().log();
        let shape = StateShape::of::<A>();
        let loaded = load(
            self.sequencer.reader(),
            pool,
            shape,
            self.context.tenant,
            aggregate_id,
        )
        .await;
        let loaded = loaded.map_err(|error| AggregateError::DatabaseConnectionError(error.into()))?;
        Ok(LoadedContext {
            aggregate_id: aggregate_id.to_owned(),
            loaded,
        })
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let unexpected = |error: crate::schema::EncodeError| AggregateError::UnexpectedError(error.into());
        let expected = context.loaded.sequence;
        let part = AggregateAppend {
            aggregate: A::TYPE.into(),
            aggregate_id: context.aggregate_id.clone(),
            expected,
            events: events
                .iter()
                .map(new_event)
                .collect::<Result<_, _>>()
                .map_err(unexpected)?,
        };
        if part.events.is_empty() {
            return Ok(Vec::new());
        }
        let request = AppendRequest {
            tenant: self.context.tenant,
            actor: self.context.actor.clone(),
            request_id: self.context.request_id.clone(),
            traceparent: self.context.traceparent.clone(),
            causation: self.context.causation,
            parts: vec![part],
            documents: Vec::new(),
            idempotency: self.context.idempotency,
            new_heads: Vec::new(),
        };
        self.sequencer
            .append(request)
            .await
            .map_err(|error| match error {
                AppendError::Conflict { .. } => AggregateError::AggregateConflict,
                other => AggregateError::DatabaseConnectionError(other.into()),
            })?;
        let envelope = |(place, payload)| EventEnvelope {
            aggregate_id: context.aggregate_id.clone(),
            sequence: to_sequence(expected) + 1 + place,
            payload,
            metadata: metadata.clone(),
        };
        Ok(events.into_iter().enumerate().map(envelope).collect())
    }
}
