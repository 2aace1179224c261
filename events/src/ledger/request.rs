//! What is asked of the sequencer, and what it answers.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::actor::Actor;
use crate::document::Document;
use crate::envelope::{EnvelopeTooLarge, Receipt};
use crate::ids::{EventId, KeyId, Position, Sequence, TenantId};

/// An event that has no place yet.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Such as `AgentRegistered`.
    pub event_type: Cow<'static, str>,
    /// The payload's schema version.
    pub version: Cow<'static, str>,
    /// What happened, as the envelope will hold it.
    pub payload: Box<RawValue>,
}

/// Events for one aggregate, decided on what it was at `expected`.
#[derive(Debug, Clone)]
pub struct AggregateAppend {
    /// The kind of aggregate.
    pub aggregate: Cow<'static, str>,
    /// Which one.
    pub aggregate_id: String,
    /// Its last sequence when the decision was made; zero when it did not exist.
    pub expected: Sequence,
    /// At least one.
    pub events: Vec<NewEvent>,
}

/// A tenant that this append to the platform log creates.
#[derive(Debug, Clone, Copy)]
pub struct NewHead {
    /// Its id.
    pub tenant: TenantId,
    /// The backbone partition that carries it, for good.
    pub partition: u32,
}

/// An Idempotency-Key, hashed with its scope, and what was sent under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyClaim {
    /// Over principal, route and key.
    pub key_hash: [u8; 32],
    /// Over the raw body.
    pub fingerprint: [u8; 32],
}

impl IdempotencyClaim {
    /// Hashes a key with its scope. The parts are length-prefixed, so no two scopes run together.
    #[must_use]
    pub fn new(principal: &str, route: &str, key: &str, body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026 idempotency key v1");
        for part in [principal, route, key] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let fingerprint = blake3::derive_key("counterfoil 2026 request body v1", body);
        Self {
            key_hash: *hasher.finalize().as_bytes(),
            fingerprint,
        }
    }
}

/// One request: all of it is written, in one commit, or nothing.
#[derive(Debug, Clone)]
pub struct AppendRequest {
    /// Whose log.
    pub tenant: TenantId,
    /// Who caused it.
    pub actor: Actor,
    /// Our id of the request that caused it.
    pub request_id: String,
    /// W3C trace context of that request.
    pub traceparent: Option<String>,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// The events, by distinct aggregates.
    pub parts: Vec<AggregateAppend>,
    /// Documents that the events refer to.
    pub documents: Vec<Document>,
    /// The key it was sent under.
    pub idempotency: Option<IdempotencyClaim>,
    /// Tenants that it creates (platform log only).
    pub new_heads: Vec<NewHead>,
}

impl AppendRequest {
    /// How many events it holds.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.parts.iter().map(|part| part.events.len()).sum()
    }

    /// Roughly how many bytes it will write.
    pub(crate) fn weight(&self) -> usize {
        let payloads: usize = self
            .parts
            .iter()
            .flat_map(|part| &part.events)
            .map(|event| event.payload.get().len() + 600)
            .sum();
        payloads
            + self
                .documents
                .iter()
                .map(|document| document.body().len())
                .sum::<usize>()
    }
}

/// The answer: the events are durable.
#[derive(Debug, Clone)]
pub struct Appended {
    /// One per event, in order.
    pub receipts: Vec<Receipt>,
    /// True when an earlier request with the same Idempotency-Key had written them.
    pub replayed: bool,
}

/// What an Idempotency-Key stands for.
#[derive(Debug, Clone)]
pub enum KeyLookup {
    /// Nothing yet.
    Free,
    /// The same request was carried out: these are its receipts.
    Done(Vec<Receipt>),
    /// Another request was.
    OtherBody,
}

/// A commit happened: `tenant` now ends at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Whose log.
    pub tenant: TenantId,
    /// Its head.
    pub position: Position,
}

/// Why nothing was written, or why that is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The aggregate moved on: decide again.
    #[error(
        "{aggregate}/{aggregate_id} is at sequence {actual}, not where the decision was made: decide again"
    )]
    Conflict {
        /// The kind of aggregate.
        aggregate: String,
        /// Which one.
        aggregate_id: String,
        /// Where it is.
        actual: Sequence,
    },
    /// The Idempotency-Key stands for a request with another body.
    #[error("this Idempotency-Key was used for another request: use a new key")]
    KeyReused,
    /// No such tenant.
    #[error("there is no log of tenant {0}: create the tenant first")]
    MissingTenant(TenantId),
    /// The tenant's copies disagree.
    #[error("tenant {tenant} takes no appends: {reason}; run `counterfoil audit reconcile`")]
    Quarantined {
        /// Which tenant.
        tenant: TenantId,
        /// What disagrees.
        reason: String,
    },
    /// Another key signs now, and it is not at hand.
    #[error(
        "this process signs with key {ours}, which was followed by {current}, and has not got that one: put its file in \
         the place of signing.key_file; nothing was written"
    )]
    KeySuperseded {
        /// What it signs with.
        ours: KeyId,
        /// What signs now.
        current: KeyId,
    },
    /// An event is over the limit.
    #[error(transparent)]
    TooLarge(#[from] EnvelopeTooLarge),
    /// The connection was lost around COMMIT and the outcome could not be found out in time.
    #[error(
        "it is not known whether the append to tenant {0} happened: ask again with the same Idempotency-Key"
    )]
    OutcomeUnknown(TenantId),
    /// An earlier request under the same Idempotency-Key was carried out; what it was answered cannot be read.
    #[error(
        "the request with this Idempotency-Key was carried out before in the log of tenant {0}, but its receipts cannot be \
         read at the moment: ask again with the same Idempotency-Key"
    )]
    ReceiptsUnread(TenantId),
    /// Postgres refuses it for what it is, as it will each time; nothing was written. A defect.
    #[error("Postgres refuses this append, and would refuse it again; nothing was written: {0}")]
    Impossible(String),
    /// Postgres is away; nothing was written.
    #[error("the ledger is unavailable, nothing was written: {0}")]
    Unavailable(String),
    /// The tenant's queue is full; nothing was written.
    #[error("{queued} requests of tenant {tenant} are waiting already, nothing was written: retry shortly")]
    Busy {
        /// Which tenant.
        tenant: TenantId,
        /// The queue's limit.
        queued: usize,
    },
    /// The process is ending; nothing was written.
    #[error("this process is stopping, nothing was written: retry")]
    Stopping,
}

impl AppendError {
    pub(super) fn conflict(aggregate: &str, aggregate_id: &str, actual: Sequence) -> Self {
        Self::Conflict {
            aggregate: aggregate.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            actual,
        }
    }

    /// Whether it is left open, or even certain, that what was asked for has been written.
    #[must_use]
    pub fn may_be_written(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::ReceiptsUnread(_))
    }

    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::OutcomeUnknown(_)
                | Self::ReceiptsUnread(_)
                | Self::Unavailable(_)
                | Self::KeySuperseded { .. }
                | Self::Busy { .. }
                | Self::Stopping
        )
    }
}
