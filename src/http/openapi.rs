//! The API description (OpenAPI 3.1), generated from the route table and served at `/openapi.json`.
//!
//! It is deterministic: paths and schemas are sorted, so that the checked-in copy changes only when the API
//! does. Every schema name stands for one type; two types of one name are found when the table is built.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, Content, ContentBuilder, HttpMethod, InfoBuilder, License, OpenApi, OpenApiBuilder, Paths,
    RefOr, Required, ResponseBuilder,
};
use warp::http::{Method, StatusCode};

use super::answer::{self, Answer};
use super::auth::Access;
use super::body::BodyDescription;
use super::problem::Problem;
use super::request::Request;
use super::route::{AnswerDescription, Route, State};
use super::schema::SchemaRef;

/// The document, once the table is complete.
pub(super) type Slot = Arc<OnceLock<Bytes>>;

pub(super) fn route(slot: Slot) -> Route {
    Route::get("/openapi.json", "This description")
        .permission(Access::Public)
        .answers_as(200, "OpenAPI 3.1", "application/json")
        .handle(&State::new(slot), serve)
}

async fn serve(slot: Slot, _: Request) -> Answer {
    let document = slot.get().cloned().unwrap_or_default();
    Ok(answer::bytes_of(StatusCode::OK, "application/json", document))
}

/// Describes these routes.
///
/// # Errors
/// The name of a schema that stands for two different types.
pub fn describe<'a>(routes: impl Iterator<Item = &'a Route>) -> Result<OpenApi, String> {
    let mut schemas = BTreeMap::new();
    collect(&mut schemas, &SchemaRef::of::<Problem>())?;
    let mut paths = Paths::new();
    for route in routes {
        let answers = route
            .spec
            .answers
            .iter()
            .filter_map(|answer| answer.schema.as_ref());
        let body = route.body.iter().filter_map(|body| body.schema.as_ref());
        for schema in answers.chain(body) {
            collect(&mut schemas, schema)?;
        }
        paths.add_path_operation(
            route.spec.path,
            vec![http_method(&route.spec.method)],
            operation(route),
        );
    }
    let info = InfoBuilder::new()
        .title("Counterfoil")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Control and evidence for organisations that run AI agents under supervision.",
        ))
        .license(Some(License::new("Apache-2.0")))
        .build();
    Ok(OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components(schemas)))
        .build())
}

/// As it is served, printed and checked in: indented, with a line break at the end.
///
/// # Errors
/// As [`describe`], or a schema that cannot be written as JSON.
pub fn document<'a>(routes: impl Iterator<Item = &'a Route>) -> Result<String, String> {
    let mut text = describe(routes)?
        .to_pretty_json()
        .map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

fn collect(known: &mut BTreeMap<String, RefOr<Schema>>, schema: &SchemaRef) -> Result<(), String> {
    for (name, component) in schema.components() {
        let earlier = known.entry(name.clone()).or_insert_with(|| component.clone());
        if earlier != component {
            return Err(name.clone());
        }
    }
    Ok(())
}

fn components(schemas: BTreeMap<String, RefOr<Schema>>) -> Components {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("bearer", bearer)
        .build()
}

fn operation(route: &Route) -> Operation {
    let spec = &route.spec;
    let parameters = path_parameters(spec.path)
        .chain(route.query.iter().cloned())
        .chain(header_parameters(route));
    let mut operation = OperationBuilder::new()
        .tag(spec.tag)
        .summary(Some(spec.summary))
        .operation_id(Some(operation_id(route)))
        .parameters(Some(parameters))
        .request_body(route.body.as_ref().map(request_body))
        .extensions(Some(
            ExtensionsBuilder::new()
                .add("x-permission", spec.access.as_str())
                .build(),
        ));
    if spec.access != Access::Public {
        operation = operation.security(SecurityRequirement::new("bearer", [""; 0]));
    }
    for answer in &spec.answers {
        operation = operation.response(answer.status.to_string(), response(answer));
    }
    operation.response("default", problem()).build()
}

fn operation_id(route: &Route) -> String {
    let mut id = route.spec.method.as_str().to_ascii_lowercase();
    for segment in route
        .spec
        .path
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != "v1")
    {
        id.push('_');
        id.extend(
            segment
                .chars()
                .filter(|c| !matches!(c, '{' | '}'))
                .map(|c| match c {
                    '-' | '.' => '_',
                    c => c,
                }),
        );
    }
    id
}

fn path_parameters(path: &'static str) -> impl Iterator<Item = Parameter> {
    let names = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let text = ObjectBuilder::new().schema_type(Type::String).build();
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(Schema::Object(text)))
            .build()
    })
}

/// Headers that every route of a kind understands.
fn header_parameters(route: &Route) -> impl Iterator<Item = Parameter> {
    let spec = &route.spec;
    let command = spec.method != Method::GET && spec.access != Access::Public;
    let query = spec.method == Method::GET && spec.path.contains("{tenant}");
    let idempotency_key = command.then(|| {
        header_parameter(
            "Idempotency-Key",
            "Makes the command repeatable for 24 hours: 1 to 255 visible ASCII characters",
        )
    });
    let wait_for = query.then(|| {
        header_parameter(
            "Counterfoil-Wait-For",
            "Answer only once the read model has reached `<tenant>:<position>`; up to 8, separated by commas",
        )
    });
    idempotency_key.into_iter().chain(wait_for)
}

fn header_parameter(name: &str, description: &str) -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Schema::Object(text)))
        .build()
}

fn request_body(body: &BodyDescription) -> utoipa::openapi::request_body::RequestBody {
    RequestBodyBuilder::new()
        .content(body.content_type, content(body.schema.as_ref()))
        .required(Some(match body.required {
            true => Required::True,
            false => Required::False,
        }))
        .build()
}

fn response(answer: &AnswerDescription) -> utoipa::openapi::Response {
    let response = ResponseBuilder::new().description(answer.description);
    if answer.content_type.is_empty() {
        return response.build();
    }
    response
        .content(answer.content_type, content(answer.schema.as_ref()))
        .build()
}

fn problem() -> utoipa::openapi::Response {
    let schema = SchemaRef::of::<Problem>();
    ResponseBuilder::new()
        .description("A problem document")
        .content("application/problem+json", content(Some(&schema)))
        .build()
}

fn content(schema: Option<&SchemaRef>) -> Content {
    ContentBuilder::new()
        .schema(schema.map(SchemaRef::reference))
        .build()
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}
