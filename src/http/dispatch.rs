//! From bytes to a handler and back, the same way for every route:
//!
//! 1. request id, shape of errors;
//! 2. the route (404, 405);
//! 3. permission, in this one place and before the body is read (401, 403);
//! 4. headers and path parameters that every route shares (400);
//! 5. the body, up to the route's limit, within a time (413, 408);
//! 6. the handler, within a time; a panic is a 500, not a closed connection;
//! 7. headers of every answer, one line in the access log, metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt};
use warp::Filter;
use warp::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderName};
use warp::http::{HeaderMap, HeaderValue, Method};

use super::answer::{Answer, Response};
use super::auth::{Authenticators, Principal};
use super::context::{
    IdempotencyKey, RequestContext, RequestFingerprint, RequestId, TraceParent, WaitFor, X_REQUEST_ID,
};
use super::lifecycle::Lifecycle;
use super::metrics::RequestMetrics;
use super::problem::{self, ApiError, ErrorShape};
use super::request::{PathParams, RawRequest, bad_param};
use super::route::Route;
use super::stream::Upgrade;
use super::table::{Found, RouteTable};

/// The peer's address, put beside each request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

/// Takes every request to its route.
pub struct Dispatcher {
    table: RouteTable,
    authenticators: Authenticators,
    lifecycle: Lifecycle,
    body_read_timeout: Duration,
}

/// What warp hands over.
struct Incoming<S> {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    peer: Option<SocketAddr>,
    upgrade: Option<Upgrade>,
    body: S,
}

/// What the access log and metrics say of a request.
struct Trail {
    request_id: RequestId,
    method: Method,
    route: &'static str,
    principal: String,
    remote: Option<SocketAddr>,
    started: Instant,
}

impl Dispatcher {
    /// Over this table, with these kinds of credential.
    #[must_use]
    pub fn new(
        table: RouteTable,
        authenticators: Authenticators,
        lifecycle: Lifecycle,
        body_read_timeout: Duration,
    ) -> Self {
        Self {
            table,
            authenticators,
            lifecycle,
            body_read_timeout,
        }
    }

    async fn serve<S, C>(&self, incoming: Incoming<S>) -> Response
    where
        S: Stream<Item = Result<C, warp::Error>> + Send,
        C: Buf,
    {
        let mut trail = Trail::begin(&incoming.method, &incoming.headers, incoming.peer);
        let metrics = RequestMetrics::begin();
        let shape = self.table.shape_of(&incoming.path);
        let outcome = self.route(incoming, &mut trail).await;
        let response = trail.finish(outcome, shape);
        metrics.finish(
            trail.route,
            trail.method.as_str(),
            response.status(),
            trail.started.elapsed(),
        );
        response
    }

    async fn route<S, C>(&self, incoming: Incoming<S>, trail: &mut Trail) -> Answer
    where
        S: Stream<Item = Result<C, warp::Error>> + Send,
        C: Buf,
    {
        let found = self.table.find(&incoming.method, &incoming.path)?;
        trail.route = found.name;
        let principal = self
            .authenticators
            .admit(found.route.spec.permission, &incoming.headers)?;
        trail.principal = principal.scope();
        let raw = self.read(&found, principal, incoming, trail).await?;
        run(found.route, raw).await
    }

    async fn read<S, C>(
        &self,
        found: &Found<'_>,
        principal: Principal,
        incoming: Incoming<S>,
        trail: &Trail,
    ) -> Result<RawRequest, ApiError>
    where
        S: Stream<Item = Result<C, warp::Error>> + Send,
        C: Buf,
    {
        let Incoming {
            method,
            path,
            query,
            headers,
            peer,
            upgrade,
            body,
        } = incoming;
        let tenant = tenant_of(&found.params, &principal)?;
        let idempotency_key = IdempotencyKey::from_headers(&headers)?;
        let wait_for = WaitFor::from_headers(&headers)?;
        let limit = found.route.spec.body_limit_bytes;
        let reading = read_body(&headers, body, limit);
        let body = tokio::time::timeout(self.body_read_timeout, reading)
            .await
            .unwrap_or_else(|_| Err(body_too_slow(self.body_read_timeout)))?;
        let context = RequestContext {
            request_id: trail.request_id.clone(),
            traceparent: TraceParent::from_headers(&headers),
            principal,
            tenant,
            idempotency_key,
            fingerprint: RequestFingerprint::of(method.as_str(), &format!("{path}?{query}"), &body),
            route: found.name,
            remote: peer,
        };
        let params = found.params.clone();
        let lifecycle = self.lifecycle.clone();
        Ok(RawRequest {
            context,
            headers,
            wait_for,
            upgrade,
            lifecycle,
            params,
            query,
            body,
        })
    }
}

async fn run(route: &Route, raw: RawRequest) -> Answer {
    let timeout = route.spec.timeout;
    // What a panicking handler leaves behind is dropped with its future; shared state guards itself.
    let handler = AssertUnwindSafe(async { (route.handler)(raw).await }).catch_unwind();
    match tokio::time::timeout(timeout, handler).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(ApiError::internal("the handler panicked; the panic is in the log")),
        Err(_) => Err(problem::TIMED_OUT.detail(format!(
            "no answer within {} ms; a command's outcome is found by repeating it with the same Idempotency-Key",
            timeout.as_millis()
        ))),
    }
}

/// The tenant that the request is about: the path's, or the agent's own.
fn tenant_of(
    params: &PathParams,
    principal: &Principal,
) -> Result<Option<counterfoil_events::ids::TenantId>, ApiError> {
    match (params.get("tenant"), principal) {
        (Some(text), _) => text
            .parse()
            .map(Some)
            .map_err(|error| bad_param("tenant", &error)),
        (None, Principal::Agent(agent)) => Ok(Some(agent.tenant)),
        (None, _) => Ok(None),
    }
}

async fn read_body<S, C>(headers: &HeaderMap, body: S, limit: usize) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<C, warp::Error>> + Send,
    C: Buf,
{
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(body_too_large(limit));
    }
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default());
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| {
            problem::MALFORMED_REQUEST
                .detail("the body ended before it was complete")
                .because(error)
        })?;
        if bytes.len() + chunk.remaining() > limit {
            return Err(body_too_large(limit));
        }
        while chunk.has_remaining() {
            let part = chunk.chunk();
            bytes.extend_from_slice(part);
            let read = part.len();
            chunk.advance(read);
        }
    }
    Ok(bytes.freeze())
}

fn body_too_large(limit: usize) -> ApiError {
    problem::BODY_TOO_LARGE.detail(format!("the body is above this route's limit of {limit} bytes"))
}

fn body_too_slow(timeout: Duration) -> ApiError {
    let detail = format!("the body did not arrive within {} ms", timeout.as_millis());
    // What is left of the body would be read as the next request.
    problem::REQUEST_TIMEOUT
        .detail(detail)
        .header(CONNECTION, HeaderValue::from_static("close"))
}

impl Trail {
    fn begin(method: &Method, headers: &HeaderMap, remote: Option<SocketAddr>) -> Self {
        Self {
            request_id: RequestId::accept_or_mint(headers),
            method: method.clone(),
            route: "unmatched",
            principal: Principal::Anonymous.scope(),
            remote,
            started: Instant::now(),
        }
    }

    fn finish(&self, outcome: Answer, shape: ErrorShape) -> Response {
        let (mut response, problem, cause) = match outcome {
            Ok(response) => (response, None, None),
            Err(error) => {
                let cause = error.cause().map(str::to_owned);
                (
                    error.render(shape, &self.request_id),
                    Some(error.kind().slug),
                    cause,
                )
            }
        };
        add_headers(&mut response, &self.request_id);
        self.log(response.status().as_u16(), problem, cause.as_deref());
        response
    }

    /// One line per request. Neither path nor query stand in it: the template and the ids say enough, and
    /// nothing that a caller wrote gets into the log, but its own request id.
    fn log(&self, status: u16, problem: Option<&'static str>, cause: Option<&str>) {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "counterfoil::access",
                    request_id = %self.request_id.id(),
                    callers_request_id = self.request_id.callers(),
                    route = self.route,
                    method = self.method.as_str(),
                    status,
                    micros,
                    principal = self.principal,
                    remote = self.remote.map(|remote| tracing::field::display(remote.ip())),
                    problem,
                    cause,
                    "request"
                )
            };
        }
        if status >= 500 { line!(error) } else { line!(info) }
    }
}

fn add_headers(response: &mut Response, request_id: &RequestId) {
    let headers = response.headers_mut();
    if let Some(value) = request_id.header_value() {
        headers.insert(HeaderName::from_static(X_REQUEST_ID), value);
    }
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        headers
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// The one filter that takes every request.
pub(super) fn filter(
    dispatcher: Arc<Dispatcher>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let upgrade = warp::ws()
        .map(|ws| Some(Upgrade(ws)))
        .or(warp::any().map(|| None))
        .unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(upgrade)
        .and(warp::body::stream())
        .then(
            move |method, path: warp::path::FullPath, query, headers, peer: Option<Peer>, upgrade, body| {
                let dispatcher = Arc::clone(&dispatcher);
                let path = path.as_str().to_owned();
                let peer = peer.map(|peer| peer.0);
                async move {
                    dispatcher
                        .serve(Incoming {
                            method,
                            path,
                            query,
                            headers,
                            peer,
                            upgrade,
                            body,
                        })
                        .await
                }
            },
        )
        .recover(|rejection: warp::Rejection| async move {
            // Nothing above rejects: each part has an alternative. Should warp change, this is what is seen.
            let error = ApiError::internal(format!("{rejection:?}"));
            Ok::<_, Infallible>(error.render(ErrorShape::Problem, &RequestId::mint()))
        })
        .unify()
}
