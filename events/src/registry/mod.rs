//! All events of the platform in one catalogue: what may stand in a log, and the JSON Schema of each payload.
//!
//! Readers that know only the envelope (replay, subscriptions, the published schemas) come here; whoever folds one
//! kind of aggregate goes by its [`EventSourced::EVENTS`]. `docs/events.md` describes the events for people, and
//! `docs/schemas/events/` holds the generated schemas.

mod schemas;
#[cfg(test)]
mod tests;

use serde_json::value::RawValue;

pub use schemas::{PayloadSchema, event_schemas};

use crate::administration::Administration;
use crate::agent::Agent;
use crate::completion::Completion;
use crate::issuer::Issuer;
use crate::keyring::SigningKeys;
use crate::kri::aggregates::indicator::Kri;
use crate::kri::aggregates::run::KriRun;
use crate::kri::aggregates::source::KriSource;
use crate::organisation::Organisation;
use crate::origin::Origin;
use crate::policy::Policy;
use crate::schema::{self, DecodeError, EventSchema, EventSourced};
use crate::secret::Secret;
use crate::subscriber::Subscribers;
use crate::tenant::Tenant;
use crate::user::User;
use crate::vault_key::VaultKey;

/// One kind of aggregate.
#[derive(Clone, Copy)]
pub struct CatalogueEntry {
    /// As in the envelope, such as `agent`.
    pub aggregate: &'static str,
    /// Every event type that it has ever written.
    pub events: &'static [EventSchema],
    current: fn(&str, &str, &RawValue) -> Result<Box<RawValue>, DecodeError>,
    state: StateFold,
    payloads: fn() -> serde_json::Value,
}

/// An event as it was written: type, version, payload.
pub type Written<'a> = (&'a str, &'a str, &'a RawValue);

type StateFold =
    for<'a, 'i> fn(&'i mut dyn Iterator<Item = Written<'a>>) -> Result<serde_json::Value, DecodeError>;

/// Every kind of aggregate, in the order of the documentation.
pub const CATALOGUE: &[CatalogueEntry] = &[
    entry::<Organisation>(),
    entry::<Tenant>(),
    entry::<User>(),
    entry::<Origin>(),
    entry::<Administration>(),
    entry::<Issuer>(),
    entry::<SigningKeys>(),
    entry::<Agent>(),
    entry::<Policy>(),
    entry::<Completion>(),
    entry::<Kri>(),
    entry::<KriSource>(),
    entry::<KriRun>(),
    entry::<Secret>(),
    entry::<VaultKey>(),
    entry::<Subscribers>(),
];

const fn entry<A: EventSourced>() -> CatalogueEntry {
    CatalogueEntry {
        aggregate: A::TYPE,
        events: A::EVENTS,
        current: current::<A>,
        state: state::<A>,
        payloads: schemas::payloads_of::<A>,
    }
}

/// The kind of aggregate with this name.
#[must_use]
pub fn find(aggregate: &str) -> Option<&'static CatalogueEntry> {
    CATALOGUE.iter().find(|entry| entry.aggregate == aggregate)
}

/// A payload in the current version of its schema, for readers that do not fold it.
#[derive(Debug)]
pub struct CurrentPayload {
    /// The current version.
    pub version: &'static str,
    /// The payload in it.
    pub payload: Box<RawValue>,
}

/// Reads a payload of any event, and lifts it to the current version if it is of an older one.
///
/// # Errors
/// When aggregate, type or version are unknown, or the payload is not of its shape.
pub fn upcast(
    aggregate: &str,
    event_type: &str,
    version: &str,
    payload: &RawValue,
) -> Result<CurrentPayload, DecodeError> {
    let entry = find(aggregate).ok_or_else(|| DecodeError::Unknown {
        aggregate: aggregate.to_owned(),
        event_type: event_type.to_owned(),
        version: version.to_owned(),
    })?;
    let known = schema::lookup(aggregate, entry.events, event_type, version)?;
    Ok(CurrentPayload {
        version: known.version,
        payload: (entry.current)(event_type, version, payload)?,
    })
}

/// Folds an aggregate's events, from its first, to the state that they lead to, as JSON: for readers of any kind of
/// aggregate. Whoever knows the kind loads it instead.
///
/// # Errors
/// When the kind, or an event's type or version, is unknown, or a payload is not of its shape.
pub fn state_of<'a>(
    aggregate: &str,
    events: impl Iterator<Item = Written<'a>>,
) -> Result<serde_json::Value, DecodeError> {
    let mut events = events.peekable();
    let entry = find(aggregate).ok_or_else(|| {
        let (event_type, version) = events
            .peek()
            .map_or(("", ""), |(name, version, _)| (name, version));
        DecodeError::Unknown {
            aggregate: aggregate.to_owned(),
            event_type: event_type.to_owned(),
            version: version.to_owned(),
        }
    })?;
    (entry.state)(&mut events)
}

fn state<A: EventSourced>(
    events: &mut dyn Iterator<Item = Written<'_>>,
) -> Result<serde_json::Value, DecodeError> {
    let mut state = A::default();
    for (event_type, version, payload) in events {
        state.apply(schema::decode::<A>(event_type, version, payload)?);
    }
    serde_json::to_value(&state).map_err(|source| DecodeError::Malformed {
        event_type: A::TYPE.to_owned(),
        version: "state".to_owned(),
        source,
    })
}

fn current<A: EventSourced>(
    event_type: &str,
    version: &str,
    payload: &RawValue,
) -> Result<Box<RawValue>, DecodeError> {
    let event = schema::decode::<A>(event_type, version, payload)?;
    schema::encode(&event).map_err(|error| DecodeError::Malformed {
        event_type: event_type.to_owned(),
        version: version.to_owned(),
        source: serde::ser::Error::custom(error),
    })
}
