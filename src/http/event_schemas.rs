//! The JSON Schemas of all events' payloads, as in `docs/schemas/events/`: for whoever reads a log by machine.

use std::sync::LazyLock;

use counterfoil_events::registry::{PayloadSchema, event_schemas};
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer};
use super::auth::Access;
use super::problem::ApiError;
use super::request::Request;
use super::route::{Route, RouteSpec, State};

const SCHEMA: &str = "application/schema+json";

static SCHEMAS: LazyLock<Vec<PayloadSchema>> = LazyLock::new(event_schemas);

/// All types of event.
#[derive(Debug, Serialize, ToSchema)]
struct EventSchemas {
    /// In the order of the documentation.
    items: Vec<EventSchemaRef>,
}

/// One type of event.
#[derive(Debug, Serialize, ToSchema)]
struct EventSchemaRef {
    /// The kind of aggregate that it happens to.
    #[schema(example = "agent")]
    aggregate: &'static str,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "AgentRegistered")]
    event_type: &'static str,
    /// The version of its payload that is written now.
    #[schema(example = "1.0")]
    version: &'static str,
    /// Where the JSON Schema of its payload is.
    #[schema(example = "/v1/event-schemas/AgentRegistered/1.0")]
    href: String,
}

/// The routes of this file.
#[must_use]
pub fn routes() -> Vec<Route> {
    let open = |route: RouteSpec| route.permission(Access::Public).tag("events");
    let nothing = State::new(());
    vec![
        open(Route::get("/v1/event-schemas", "All types of event"))
            .answers::<EventSchemas>(200, "With the address of each one's JSON Schema")
            .handle(&nothing, list),
        open(Route::get(
            "/v1/event-schemas/{type}",
            "The JSON Schema of a type's payload, as it is written now",
        ))
        .answers_as(200, "JSON Schema, draft 2020-12", SCHEMA)
        .handle(&nothing, current),
        open(Route::get(
            "/v1/event-schemas/{type}/{version}",
            "The JSON Schema of a version of a type's payload",
        ))
        .answers_as(200, "JSON Schema, draft 2020-12", SCHEMA)
        .handle(&nothing, version),
    ]
}

async fn list((): (), _: Request) -> Answer {
    let items = SCHEMAS.iter().map(|schema| EventSchemaRef {
        aggregate: schema.aggregate,
        event_type: schema.event_type,
        version: schema.version,
        href: format!("/v1/event-schemas/{}/{}", schema.event_type, schema.version),
    });
    answer::ok(&EventSchemas {
        items: items.collect(),
    })
}

async fn current((): (), request: Request) -> Answer {
    let event_type: String = request.param("type")?;
    let found = SCHEMAS.iter().find(|schema| schema.event_type == event_type);
    found
        .map(document)
        .ok_or_else(|| ApiError::not_found("event type", event_type))
}

async fn version((): (), request: Request) -> Answer {
    let (event_type, version): (String, String) = (request.param("type")?, request.param("version")?);
    let is_it = |schema: &&PayloadSchema| schema.event_type == event_type && schema.version == version;
    let found = SCHEMAS.iter().find(is_it);
    found
        .map(document)
        .ok_or_else(|| ApiError::not_found("event schema", format!("{event_type} {version}")))
}

/// The same bytes as the file in `docs/schemas/events/`.
fn document(schema: &PayloadSchema) -> answer::Response {
    answer::bytes_of(StatusCode::OK, SCHEMA, format!("{:#}\n", schema.schema))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn types_are_unique_so_that_an_address_without_aggregate_names_one() {
        let mut types: Vec<_> = SCHEMAS.iter().map(|schema| schema.event_type).collect();
        types.sort_unstable();
        let all = types.len();
        types.dedup();
        assert_eq!(types.len(), all);
    }
}
