//! The routes of OpenAI's surface: `POST /v1/chat/completions`, `GET /v1/models`, `GET /v1/models/{model}`.
//!
//! The door has made sure that the credential is a key that was issued (`directory::AgentKeys`); everything else is the
//! pipeline's. Errors of this surface, its 404 and 405 included, have OpenAI's shape.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;
use warp::http::{HeaderMap, StatusCode};

use super::directory::{AgentIdentity, presented_key};
use super::pipeline::Context;
use super::pipeline::context::Incoming;
use super::pipeline::steps::budget_rpm;
use super::pipeline::steps::identity_key_state::objection;
use super::reply::{Facts, Replied, render};
use super::wire::models::{ModelList, ModelObject};
use super::wire::{ApiError, request, response};
use super::{Gateway, call};
use crate::http::answer::{Answer, bytes_of};
use crate::http::body::{BodyDescription, RequestBody, require_json};
use crate::http::context::RequestContext;
use crate::http::route::State;
use crate::http::schema::SchemaRef;
use crate::http::{Access, ErrorShape, Group, Request, Route, problem};

/// The route of completions, as the scope of Idempotency-Keys names it.
pub const ROUTE: &str = "POST /v1/chat/completions";
/// Header by which a caller may say which tenant it takes itself to be in.
const TENANT_HEADER: &str = "counterfoil-tenant";
/// Largest request: long conversations with images inline. Nothing of it is stored.
const BODY_LIMIT_BYTES: usize = 8 << 20;
/// Above the longest total timeout that can be configured; each call has its own, shorter one.
const LONGEST_CALL: Duration = Duration::from_secs(3_700);

/// The surface's routes, and that their errors have OpenAI's shape.
#[must_use]
pub fn group(gateway: &State<Gateway>) -> Group {
    Group::new(routes(gateway)).errors(ErrorShape::OpenAi, &["/v1/chat", "/v1/models"])
}

fn routes(gateway: &State<Gateway>) -> Vec<Route> {
    vec![
        Route::post(
            "/v1/chat/completions",
            "Complete a chat, governed (OpenAI's wire)",
        )
        .tag("openai")
        .permission(Access::AgentKey)
        .body_limit_bytes(BODY_LIMIT_BYTES)
        .timeout(LONGEST_CALL)
        .answers::<response::ChatCompletion>(200, "The answer; text/event-stream when `stream` is true")
        .answers::<ErrorDocument>(403, "Denied by policy; `code` is the step that denied")
        .handle(gateway, complete),
        Route::get("/v1/models", "The models that this key may use")
            .tag("openai")
            .permission(Access::AgentKey)
            .answers::<ModelList>(200, "By name")
            .handle(gateway, list_models),
        Route::get("/v1/models/{model}", "One model that this key may use")
            .tag("openai")
            .permission(Access::AgentKey)
            .answers::<ModelObject>(200, "The model")
            .answers::<ErrorDocument>(404, "No such model for this key")
            .handle(gateway, one_model),
    ]
}

/// The body of a completion: JSON, kept as it came.
pub struct ChatBody(Bytes);

impl RequestBody for ChatBody {
    fn describe() -> Option<BodyDescription> {
        let schema = Some(SchemaRef::of::<request::ChatCompletionRequest>());
        Some(BodyDescription {
            content_type: "application/json",
            schema,
            required: true,
        })
    }

    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, crate::http::ApiError> {
        require_json(headers)?;
        Ok(Self(bytes.clone()))
    }
}

async fn complete(gateway: Gateway, request: Request<ChatBody>) -> Answer {
    let started = Instant::now();
    let tenant = request.tenant()?;
    let incoming = Incoming {
        key: presented_key(&request.headers),
        claimed_tenant: claimed_tenant(&request.headers)?,
        command: request.context.command(tenant),
        idempotency_key: request
            .context
            .idempotency_key
            .as_ref()
            .map(|key| key.as_str().to_owned()),
        body: request.body.0,
        remote: remote_of(&request.context),
        stopping: request.lifecycle.hurrying().clone(),
    };
    let context = Context::new(Arc::clone(&gateway.0), incoming);
    let (reply, replied) = oneshot::channel();
    // The task outlives a caller who leaves: what was begun is settled.
    request.lifecycle.spawn("completion", call::run(context, reply));
    // Without a reply the task has panicked or was stopped; the panic is in the log.
    let replied = replied
        .await
        .unwrap_or_else(|_| Replied::error(ApiError::internal(), Facts::default()));
    Ok(replied.into_response(started.elapsed()))
}

async fn list_models(gateway: Gateway, request: Request) -> Answer {
    let identity = match admitted(&gateway, &request.headers, remote_of(&request.context)).await {
        Ok(identity) => identity,
        Err(error) => return Ok(render(&error)),
    };
    let data = gateway.models_of(&identity);
    Ok(json(&ModelList { object: "list", data }))
}

async fn one_model(gateway: Gateway, request: Request) -> Answer {
    let wanted: String = request.param("model")?;
    let identity = match admitted(&gateway, &request.headers, remote_of(&request.context)).await {
        Ok(identity) => identity,
        Err(error) => return Ok(render(&error)),
    };
    let found = gateway
        .models_of(&identity)
        .into_iter()
        .find(|model| model.id == wanted);
    Ok(found.map_or_else(|| render(&ApiError::model_not_found()), |model| json(&model)))
}

/// The identity of a key that nothing speaks against, within its rate.
async fn admitted(
    gateway: &Gateway,
    headers: &HeaderMap,
    remote: Option<IpAddr>,
) -> Result<Arc<AgentIdentity>, ApiError> {
    let services = &gateway.0;
    let key = presented_key(headers).ok_or_else(ApiError::invalid_api_key)?;
    let stale = |_| {
        ApiError::unavailable(
            "check_unavailable",
            "Keys cannot be checked at the moment. Try again.",
        )
    };
    let identity = services
        .directory
        .find(&key)
        .map_err(stale)?
        .ok_or_else(ApiError::invalid_api_key)?;
    if let Some((_, error)) = objection(&identity.standing, services.clock.now()) {
        return Err(error);
    }
    let rate = budget_rpm::count(services, &identity, remote).await;
    if rate.allowed {
        Ok(identity)
    } else {
        Err(budget_rpm::beyond(&rate))
    }
}

fn remote_of(context: &RequestContext) -> Option<IpAddr> {
    context.remote.map(|remote| remote.ip())
}

fn claimed_tenant(headers: &HeaderMap) -> Result<Option<String>, crate::http::ApiError> {
    let text = |value: &warp::http::HeaderValue| value.to_str().map(str::to_owned);
    let unreadable = |_| problem::MALFORMED_REQUEST.detail("header Counterfoil-Tenant cannot be read");
    headers
        .get(TENANT_HEADER)
        .map(text)
        .transpose()
        .map_err(unreadable)
}

fn json(value: &impl Serialize) -> crate::http::Response {
    // Texts and numbers only: writing them to memory cannot fail.
    bytes_of(
        StatusCode::OK,
        "application/json",
        serde_json::to_vec(value).unwrap_or_default(),
    )
}

/// `{"error":{…}}`, for the API description.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[schema(as = OpenAiError)]
pub struct ErrorDocument {
    /// What went wrong.
    error: ErrorFields,
}

/// What went wrong; all four keys are always there.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[schema(as = OpenAiErrorFields)]
pub struct ErrorFields {
    /// For people.
    message: String,
    /// The kind of error, such as `invalid_request_error` or `policy_violation`.
    r#type: String,
    /// JSON path of the field at fault.
    param: Option<String>,
    /// For programs.
    code: Option<String>,
}
