//! Which events exist: the registry of known (aggregate, type, version), and how a payload becomes an event.
//!
//! The registry is asked **before** serde. An unknown type or version is an error that stops the reader (the
//! process needs an upgrade); it is never skipped and never parked. Old versions are lifted step by step to the
//! current one by our own upcasters, as JSON, before the event's type reads them.

use cqrs_es::Aggregate;
use schemars::JsonSchema;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rejection::Rejection;

/// Lifts a payload from one version to the next.
#[derive(Clone, Copy)]
pub struct Upcast {
    /// The version that it reads.
    pub from: &'static str,
    /// The version that it writes.
    pub to: &'static str,
    /// The change itself; total, since what it reads was once written by us.
    pub lift: fn(Value) -> Value,
}

/// One event type: its current version and the way from every older one.
#[derive(Clone, Copy)]
pub struct EventSchema {
    /// As in the envelope, such as `AgentRegistered`; also the variant's name in the event enum.
    pub event_type: &'static str,
    /// The version that is written now.
    pub version: &'static str,
    /// From older versions, oldest first; each step's `to` is the next one's `from`, the last one's is `version`.
    pub upcasts: &'static [Upcast],
}

impl EventSchema {
    /// An event type that has had one version only.
    #[must_use]
    pub const fn first(event_type: &'static str) -> Self {
        Self {
            event_type,
            version: "1.0",
            upcasts: &[],
        }
    }

    fn knows(&self, version: &str) -> bool {
        self.version == version || self.upcasts.iter().any(|step| step.from == version)
    }
}

/// An aggregate of this log. Its events are an enum of struct variants (never unit or tuple variants, so that each
/// payload is a JSON object); `handle` decides and `apply` folds, both without I/O.
pub trait EventSourced:
    Aggregate<Services = (), Event: JsonSchema, Error: Rejection> + JsonSchema + Clone + 'static
{
    /// Every event type this aggregate has ever written.
    const EVENTS: &'static [EventSchema];
}

/// A payload that this build cannot read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not in the registry: written by a later build.
    #[error(
        "unknown event {aggregate}/{event_type} version {version}: this build is too old to read the log; upgrade it"
    )]
    Unknown {
        /// The kind of aggregate.
        aggregate: String,
        /// The event's type.
        event_type: String,
        /// The payload's version.
        version: String,
    },
    /// In the registry, but not of its shape.
    #[error("the payload of {event_type} version {version} does not have its schema's shape: {source}")]
    Malformed {
        /// The event's type.
        event_type: String,
        /// The payload's version.
        version: String,
        /// Where it departs from it.
        source: serde_json::Error,
    },
}

/// The schema of (`event_type`, `version`) among `events`.
///
/// # Errors
/// [`DecodeError::Unknown`] when it is not there.
pub fn lookup(
    aggregate: &str,
    events: &'static [EventSchema],
    event_type: &str,
    version: &str,
) -> Result<&'static EventSchema, DecodeError> {
    let unknown = || DecodeError::Unknown {
        aggregate: aggregate.to_owned(),
        event_type: event_type.to_owned(),
        version: version.to_owned(),
    };
    events
        .iter()
        .find(|schema| schema.event_type == event_type && schema.knows(version))
        .ok_or_else(unknown)
}

/// A payload lifted to the current version of its schema.
fn upcast(schema: &EventSchema, version: &str, payload: Value) -> Value {
    schema
        .upcasts
        .iter()
        .skip_while(|step| step.from != version)
        .fold(payload, |value, step| (step.lift)(value))
}

/// Reads a payload as an event of `A`, lifting old versions.
///
/// # Errors
/// When the type or version is unknown, or the payload is not of its shape.
pub fn decode<A: EventSourced>(
    event_type: &str,
    version: &str,
    payload: &RawValue,
) -> Result<A::Event, DecodeError> {
    let schema = lookup(A::TYPE, A::EVENTS, event_type, version)?;
    let malformed = |source| DecodeError::Malformed {
        event_type: event_type.to_owned(),
        version: version.to_owned(),
        source,
    };
    if schema.version == version {
        // The common case reads the text itself: the enum is externally tagged.
        let tagged = format!("{{\"{}\":{}}}", schema.event_type, payload.get());
        return serde_json::from_str(&tagged).map_err(malformed);
    }
    let lifted = upcast(
        schema,
        version,
        serde_json::from_str(payload.get()).map_err(malformed)?,
    );
    let tagged = Value::Object([(schema.event_type.to_owned(), lifted)].into_iter().collect());
    serde_json::from_value(tagged).map_err(malformed)
}

/// An event that cannot be written as an envelope's payload.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Its serialisation failed.
    #[error("the event does not serialise: {0}")]
    Serialise(#[from] serde_json::Error),
    /// It is no struct variant, so that its payload is not an object.
    #[error("the event {0} has no JSON object as its payload: make it a struct variant")]
    NotAnObject(String),
}

/// The payload text of an event: what stands under the variant's name in its externally tagged form.
///
/// # Errors
/// When the event does not serialise, or is no struct variant.
pub fn encode<E: cqrs_es::DomainEvent>(event: &E) -> Result<Box<RawValue>, EncodeError> {
    let tagged = serde_json::to_string(event)?;
    let name = event.event_type();
    // `{"Name":{…}}` without its first name.len() + 4 bytes and its last one.
    let payload = tagged
        .get(name.len() + 4..tagged.len().saturating_sub(1))
        .filter(|payload| payload.starts_with('{') && tagged[2..].starts_with(&name))
        .ok_or(EncodeError::NotAnObject(name))?;
    Ok(RawValue::from_string(payload.to_owned())?)
}

/// Names an aggregate's state by its shape: a snapshot of another shape is not read.
#[must_use]
pub fn state_schema_hash<A: EventSourced>() -> [u8; 32] {
    let schema = schemars::schema_for!(A);
    blake3::derive_key(
        "counterfoil 2026 state schema v1",
        schema.to_value().to_string().as_bytes(),
    )
}
