//! Errors of the HTTP face: one value, `ApiError`, and the RFC 9457 problem document it becomes.
//!
//! The text for the client (`detail`) and the text for the log (`cause`) are separate fields, so that an
//! upstream's or a database's words never leave the process. `ProblemType` is the stable part: clients
//! branch on its URI. Endpoint groups may add constants of their own beside the common ones here; the
//! mapping to bytes happens once, in `render`.

mod types;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use warp::http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{HeaderValue, StatusCode};

pub use types::*;

use super::answer::Response;
use super::context::RequestId;
use crate::gateway::wire::ApiError as OpenAiError;

/// After how long a client should come back when a problem is temporary and nothing better is known.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error on its way to the client. Build it from a `ProblemType`:
/// `problem::NOT_FOUND.detail("agent … does not exist")`.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ProblemType,
    detail: Cow<'static, str>,
    cause: Option<String>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    retry_after: Option<Duration>,
}

/// One field that is wrong, by its RFC 6901 JSON pointer or its parameter's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// `/agents/0/name`, or the name of a path, query or header parameter.
    pub field: String,
    /// What is wrong with it, never repeating its value.
    pub message: String,
}

/// In which shape a group's errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorShape {
    /// RFC 9457, `application/problem+json`.
    #[default]
    Problem,
    /// `{"error":{"message","type","param","code"}}`, all four keys always.
    OpenAi,
}

impl ApiError {
    /// A problem with a text for the client. It names the limit, the id and the next step, and never
    /// repeats what the client sent.
    #[must_use]
    pub fn new(kind: ProblemType, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = matches!(kind.status, 429 | 503).then_some(DEFAULT_RETRY_AFTER);
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            cause: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
            retry_after,
        }))
    }

    /// A fault of ours: the client gets the request id, the log gets the cause.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(
            INTERNAL,
            "an internal error; its cause is in the log under this request id",
        )
        .because(cause)
    }

    /// What is well formed and refused by a rule, with the stable code that clients branch on.
    #[must_use]
    pub fn refused(code: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(REFUSED, detail).with("code", code)
    }

    /// `what` (say, `"agent"`) with this id does not exist for this caller.
    #[must_use]
    pub fn not_found(what: &str, id: impl fmt::Display) -> Self {
        Self::new(NOT_FOUND, format!("{what} {id} does not exist"))
    }

    /// The text for the log. It may hold anything but secrets.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Names a field that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.0.errors.push(FieldError {
            field: field.into(),
            message: message.into(),
        });
        self
    }

    /// An extension member of the problem document (RFC 9457 §3.2), such as the position of a first outcome.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// When the client should try again, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// A header on the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// What kind of problem it is.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        self.0.kind
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The text for the log, if there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The text for the client.
    #[must_use]
    pub fn client_text(&self) -> &str {
        &self.0.detail
    }

    /// The fields that are wrong.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        &self.0.errors
    }

    pub(in crate::http) fn allow(self, methods: &str) -> Self {
        // Method names are tokens, always legal in a header.
        match HeaderValue::from_str(methods) {
            Ok(value) => self.header(ALLOW, value),
            Err(_) => self,
        }
    }

    /// The answer, in the shape of the group it belongs to.
    #[must_use]
    pub fn render(&self, shape: ErrorShape, request_id: &RequestId) -> Response {
        let (content_type, body) = match shape {
            ErrorShape::Problem => (
                "application/problem+json",
                json(&self.problem_document(request_id)),
            ),
            ErrorShape::OpenAi => ("application/json", self.openai_error().to_json()),
        };
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.write_headers(&mut response);
        response
    }

    fn write_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if let Some(wait) = self.0.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if self.0.kind.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        for (name, value) in &self.0.headers {
            headers.insert(name.clone(), value.clone());
        }
    }

    fn problem_document(&self, request_id: &RequestId) -> Problem {
        let inner = &*self.0;
        Problem {
            kind: format!("{TYPE_BASE}{}", inner.kind.slug),
            title: inner.kind.title.to_owned(),
            status: inner.kind.status,
            detail: inner.detail.clone().into_owned(),
            instance: format!("urn:uuid:{}", request_id.id()),
            errors: inner.errors.clone(),
            members: inner.members.clone(),
        }
    }

    /// What the dispatcher itself refuses on OpenAI's surface; the gateway's own errors are made there.
    fn openai_error(&self) -> OpenAiError {
        let kind = match self.0.kind.status {
            401 => return OpenAiError::invalid_api_key(),
            500 => return OpenAiError::internal(),
            403 => "permission_error",
            429 => "rate_limit_error",
            501.. => "server_error",
            _ => "invalid_request_error",
        };
        let code = match self.0.kind {
            NO_SUCH_ROUTE => Cow::Borrowed("unknown_url"),
            kind => Cow::Owned(kind.slug.replace('-', "_")),
        };
        let error = OpenAiError::new(self.status(), kind, self.0.detail.clone()).with_code(code);
        match self.0.errors.first() {
            Some(field) => error.with_param(field.field.clone()),
            None => error,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.slug, self.0.detail)
    }
}

impl std::error::Error for ApiError {}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

fn json(document: &impl Serialize) -> String {
    // Texts, numbers and maps with keys of text: nothing that JSON cannot hold.
    serde_json::to_string(document).unwrap_or_default()
}

/// A problem document, as it is written and as the API description has it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(description = "RFC 9457 problem document")]
pub struct Problem {
    /// A stable URI under <https://counterfoil.dev/problems/>.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every occurrence of the type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do about it.
    pub detail: String,
    /// This request, as `urn:uuid:<request id>`.
    pub instance: String,
    /// The fields that are wrong, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// Members of this type of problem, such as the `code` of a refusal.
    #[serde(flatten)]
    #[schema(ignore)]
    pub members: Map<String, Value>,
}
