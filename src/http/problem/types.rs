//! The stable identifiers of what can go wrong: clients branch on them, `docs/http-api.md` explains each.

use std::borrow::Cow;

use super::ApiError;

/// Where every problem type's URI begins.
pub const TYPE_BASE: &str = "https://counterfoil.dev/problems/";

/// What went wrong, as a stable identifier that clients may branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemType {
    /// Last segment of the type URI; never changes once released.
    pub slug: &'static str,
    /// The same for every occurrence (RFC 9457 §3.1.3).
    pub title: &'static str,
    /// The status that goes with it.
    pub status: u16,
}

impl ProblemType {
    /// A problem type; `status` is an HTTP error status.
    #[must_use]
    pub const fn new(slug: &'static str, status: u16, title: &'static str) -> Self {
        Self { slug, title, status }
    }

    /// A value of this type with a text for the client.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(self, detail)
    }
}

/// A header or the request line is not what HTTP or this API asks for.
pub const MALFORMED_REQUEST: ProblemType = ProblemType::new("malformed-request", 400, "Malformed request");
/// The body is not JSON, is nested too deep, or names a key twice.
pub const MALFORMED_JSON: ProblemType = ProblemType::new("malformed-json", 400, "Malformed JSON");
/// The body is JSON, but not the document this route takes.
pub const INVALID_BODY: ProblemType = ProblemType::new("invalid-body", 400, "Invalid body");
/// A path or query parameter cannot be read.
pub const INVALID_PARAMETER: ProblemType = ProblemType::new("invalid-parameter", 400, "Invalid parameter");
/// No credential, or one that is not known. One shape for every reason.
pub const UNAUTHENTICATED: ProblemType = ProblemType::new("unauthenticated", 401, "Not authenticated");
/// The credential is known and may not do this.
pub const FORBIDDEN: ProblemType = ProblemType::new("forbidden", 403, "Forbidden");
/// The request has not come through the edge. One shape for every reason.
pub const ORIGIN_REFUSED: ProblemType = ProblemType::new("origin-refused", 403, "Origin refused");
/// The route exists; the thing it names does not, for this caller.
pub const NOT_FOUND: ProblemType = ProblemType::new("not-found", 404, "Not found");
/// No route has this path.
pub const NO_SUCH_ROUTE: ProblemType = ProblemType::new("no-such-route", 404, "No such route");
/// The path exists with other methods; `Allow` lists them.
pub const METHOD_NOT_ALLOWED: ProblemType = ProblemType::new("method-not-allowed", 405, "Method not allowed");
/// The request's body did not arrive in time.
pub const REQUEST_TIMEOUT: ProblemType = ProblemType::new("request-timeout", 408, "Request timeout");
/// The command contradicts the present state.
pub const CONFLICT: ProblemType = ProblemType::new("conflict", 409, "Conflict");
/// The body is above the route's limit.
pub const BODY_TOO_LARGE: ProblemType = ProblemType::new("body-too-large", 413, "Body too large");
/// The route takes another content type.
pub const UNSUPPORTED_MEDIA_TYPE: ProblemType =
    ProblemType::new("unsupported-media-type", 415, "Unsupported media type");
/// The command is well formed and refused by a rule of the domain.
pub const REFUSED: ProblemType = ProblemType::new("refused", 422, "Refused");
/// The Idempotency-Key was used before with another request.
pub const IDEMPOTENCY_KEY_MISMATCH: ProblemType =
    ProblemType::new("idempotency-key-mismatch", 422, "Idempotency-Key mismatch");
/// Too many commands, or refused credentials; `Retry-After` says when the next may come.
pub const TOO_MANY_REQUESTS: ProblemType = ProblemType::new("too-many-requests", 429, "Too many requests");
/// Too many event streams of this tenant or caller are open.
pub const TOO_MANY_STREAMS: ProblemType = ProblemType::new("too-many-streams", 429, "Too many streams");
/// A fault of ours; the request id finds it in the log.
pub const INTERNAL: ProblemType = ProblemType::new("internal", 500, "Internal error");
/// Something this request needs is down; nothing was done.
pub const UNAVAILABLE: ProblemType = ProblemType::new("unavailable", 503, "Unavailable");
/// The commit's outcome is not known yet; retry with the same Idempotency-Key.
pub const OUTCOME_UNKNOWN: ProblemType = ProblemType::new("outcome-unknown", 503, "Outcome unknown");
/// The handler did not finish in time.
pub const TIMED_OUT: ProblemType = ProblemType::new("timed-out", 504, "Timed out");

/// All of them: `docs/http-api.md` explains each to clients.
pub const COMMON: [ProblemType; 22] = [
    MALFORMED_REQUEST,
    MALFORMED_JSON,
    INVALID_BODY,
    INVALID_PARAMETER,
    UNAUTHENTICATED,
    FORBIDDEN,
    ORIGIN_REFUSED,
    NOT_FOUND,
    NO_SUCH_ROUTE,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    CONFLICT,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    REFUSED,
    IDEMPOTENCY_KEY_MISMATCH,
    TOO_MANY_REQUESTS,
    TOO_MANY_STREAMS,
    INTERNAL,
    UNAVAILABLE,
    OUTCOME_UNKNOWN,
    TIMED_OUT,
];
