//! What a request says about itself in its headers: request id, traceparent, Idempotency-Key and
//! `Counterfoil-Wait-For`. Pure parsing; each error names the header and the limit.

use std::fmt;
use std::net::SocketAddr;

use counterfoil_events::ids::{Position, TenantId};
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderValue};

use super::auth::Principal;
use super::problem::{self, ApiError};

/// Longest `X-Request-ID` that is taken over.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Longest `Idempotency-Key` (as in the IETF draft's common practice).
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;
/// How many positions one query may wait for.
const MAX_WAIT_FOR: usize = 8;

/// Header that names a request, on the way in and out.
pub const X_REQUEST_ID: &str = "x-request-id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Makes a command repeatable.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// A query waits until its read model has reached this `<tenant>:<position>`.
pub const WAIT_FOR: &str = "counterfoil-wait-for";
/// Where a command's event stands, on its answer: `<tenant>:<position>`.
pub const POSITION: &str = "counterfoil-position";

/// What every handler knows of its request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Names this request in the answer, the log and the events it causes.
    pub request_id: RequestId,
    /// W3C trace context to hand on, if the caller sent a valid one.
    pub traceparent: Option<TraceParent>,
    /// Who asks, as far as the route's permission made sure.
    pub principal: Principal,
    /// The `{tenant}` of the path.
    pub tenant: Option<TenantId>,
    /// Makes the command repeatable; scope is tenant, principal and route.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Of method, path and raw body: the same key with another fingerprint is another request.
    pub fingerprint: RequestFingerprint,
    /// Method and template of the route, such as `POST /v1/tenants/{tenant}/agents`.
    pub route: &'static str,
    /// Who sent it: the peer of the connection, or whom trusted proxies name (without a port then).
    pub remote: Option<SocketAddr>,
}

/// Names a request. The id is ours unless the caller's is a UUID: it goes into envelopes, where a
/// caller's free text must not. The caller's own name for it is echoed and logged beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    id: Uuid,
    callers: Option<String>,
}

impl RequestId {
    /// A new id (UUIDv7).
    #[must_use]
    pub fn mint() -> Self {
        Self {
            id: Uuid::now_v7(),
            callers: None,
        }
    }

    /// The caller's `X-Request-ID` where it is acceptable, else a new one.
    #[must_use]
    pub fn accept_or_mint(headers: &HeaderMap) -> Self {
        let Some(text) = headers.get(X_REQUEST_ID).and_then(safe_text) else {
            return Self::mint();
        };
        match Uuid::try_parse(text) {
            Ok(id) if text.len() == 36 => Self { id, callers: None },
            _ => Self {
                id: Uuid::now_v7(),
                callers: Some(text.to_owned()),
            },
        }
    }

    /// The id that stands in events and problem documents.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The caller's own name for the request, where it is not a UUID.
    #[must_use]
    pub fn callers(&self) -> Option<&str> {
        self.callers.as_deref()
    }

    /// The value of the answer's `X-Request-ID`: the caller's own, or ours.
    #[must_use]
    pub fn header_value(&self) -> Option<HeaderValue> {
        match &self.callers {
            Some(text) => HeaderValue::from_str(text).ok(),
            None => HeaderValue::from_str(&self.id.to_string()).ok(),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// Characters that are safe in logs, headers and shells alike.
fn safe_text(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(&b);
    (!text.is_empty() && text.len() <= MAX_REQUEST_ID_BYTES && text.bytes().all(safe)).then_some(text)
}

/// A valid W3C `traceparent` (version 00 layout; higher versions are taken by their first four fields).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// As it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trace id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        // `parse` admits only texts of at least 55 ASCII bytes in this layout.
        &self.0[3..35]
    }

    /// The header, if it is there and valid; an invalid one is dropped, as the standard says (§3.2.2.3).
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get(TRACEPARENT)?.to_str().ok().and_then(Self::parse)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let version = parts.next().filter(|v| is_hex(v, 2) && *v != "ff")?;
        let trace = parts
            .next()
            .filter(|v| is_hex(v, 32) && v.bytes().any(|b| b != b'0'))?;
        let parent = parts
            .next()
            .filter(|v| is_hex(v, 16) && v.bytes().any(|b| b != b'0'))?;
        let flags = parts.next().filter(|v| is_hex(v, 2))?;
        if version == "00" && parts.next().is_some() {
            return None;
        }
        Some(Self(format!("{version}-{trace}-{parent}-{flags}")))
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The client's `Idempotency-Key`: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// As it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The header, if it is there.
    ///
    /// # Errors
    /// A key that is empty, too long, not visible ASCII, or given twice.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
        let bytes = value.as_bytes();
        let fits = (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&bytes.len()) && visible(bytes);
        match value.to_str() {
            Ok(text) if fits && values.next().is_none() => Ok(Some(Self(text.to_owned()))),
            _ => Err(bad_header(
                "Idempotency-Key",
                "give it once, 1 to 255 visible ASCII characters",
            )),
        }
    }
}

/// What a query waits for: this tenant's log, up to this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitFor {
    /// Whose log.
    pub tenant: TenantId,
    /// Up to where.
    pub position: Position,
}

impl WaitFor {
    /// Every `Counterfoil-Wait-For`, repeated or separated by commas.
    ///
    /// # Errors
    /// A value that is not `<tenant>:<position>`, or more than eight.
    pub fn from_headers(headers: &HeaderMap) -> Result<Vec<Self>, ApiError> {
        let mut wanted = Vec::new();
        for value in headers.get_all(WAIT_FOR) {
            let text = value.to_str().unwrap_or_default();
            for item in text.split(',') {
                wanted.push(Self::parse(item.trim()).ok_or_else(bad_wait_for)?);
            }
        }
        if wanted.len() > MAX_WAIT_FOR {
            Err(bad_wait_for())
        } else {
            Ok(wanted)
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (tenant, position) = text.split_once(':')?;
        Some(Self {
            tenant: tenant.parse().ok()?,
            position: Position(position.parse().ok()?),
        })
    }
}

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tenant, self.position)
    }
}

fn bad_wait_for() -> ApiError {
    bad_header(
        "Counterfoil-Wait-For",
        "give `<tenant>:<position>`, at most 8 times",
    )
}

fn bad_header(name: &str, rule: &str) -> ApiError {
    problem::MALFORMED_REQUEST
        .detail(format!("header {name} cannot be read: {rule}"))
        .field(name, rule)
}

/// BLAKE3 of method, path with query, and raw body. The path is part of it so that one key cannot answer
/// for another resource of the same route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFingerprint(pub [u8; 32]);

impl RequestFingerprint {
    /// Of a whole request.
    #[must_use]
    pub fn of(method: &str, path_and_query: &str, body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026 request fingerprint v1");
        for part in [method.as_bytes(), path_and_query.as_bytes()] {
            hasher.update(part).update(&[0]);
        }
        Self(*hasher.update(body).finalize().as_bytes())
    }
}

impl fmt::Display for RequestFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
