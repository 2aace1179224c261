//! The JSON Schema (draft 2020-12) of each event's payload, from the types that read and write it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::CATALOGUE;
use crate::schema::EventSourced;

/// The schema of one event's payload, in its current version.
#[derive(Clone, PartialEq, Debug)]
pub struct PayloadSchema {
    /// The kind of aggregate.
    pub aggregate: &'static str,
    /// The event's type.
    pub event_type: &'static str,
    /// The version of the payload.
    pub version: &'static str,
    /// The JSON Schema; complete in itself, without references.
    pub schema: Value,
}

impl PayloadSchema {
    /// Where it stands below `docs/schemas/events/` and in the HTTP interface.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}-{}.json", self.aggregate, self.event_type, self.version)
    }
}

/// The schemas of all events, in the order of the catalogue.
#[must_use]
pub fn event_schemas() -> Vec<PayloadSchema> {
    let of_entry = |entry: &'static super::CatalogueEntry| {
        let payloads = (entry.payloads)();
        entry.events.iter().map(move |event| PayloadSchema {
            aggregate: entry.aggregate,
            event_type: event.event_type,
            version: event.version,
            schema: published(
                entry.aggregate,
                event.event_type,
                event.version,
                &payloads[event.event_type],
            ),
        })
    };
    CATALOGUE.iter().flat_map(of_entry).collect()
}

/// The payload schemas of an aggregate's events by type: the branches of its externally tagged enum.
pub(super) fn payloads_of<A: EventSourced>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings
        .into_generator()
        .into_root_schema_for::<A::Event>()
        .to_value();
    let branches = schema["oneOf"].as_array().into_iter().flatten();
    branches.flat_map(branch).collect::<Map<_, _>>().into()
}

/// `{"properties": {"AgentRegistered": {…}}, "description": …}` as the type's name and the payload's schema.
fn branch(branch: &Value) -> Option<(String, Value)> {
    let (name, payload) = branch["properties"].as_object()?.iter().next()?;
    let mut payload = payload.clone();
    payload["description"] = branch["description"].clone();
    Some((name.clone(), payload))
}

fn published(aggregate: &str, event_type: &str, version: &str, payload: &Value) -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:counterfoil:event:{aggregate}:{event_type}:{version}"),
        "title": format!("{event_type} {version}"),
    });
    if let (Some(schema), Some(payload)) = (schema.as_object_mut(), payload.as_object()) {
        schema.extend(payload.clone());
    }
    schema
}
