//! What a request leaves behind: its id on the answer, one line in the access log, its part in the metrics. One whose
//! client hung up before the answer leaves line and count, too, under the status 499 that nobody was sent.
//!
//! Neither path nor query nor body stand in the log: the template and the ids say enough, and nothing that a caller
//! wrote gets there but its own name for the request.

use std::net::SocketAddr;
use std::time::Instant;

use warp::http::header::{CACHE_CONTROL, HeaderName};
use warp::http::{HeaderMap, HeaderValue, Method};

use super::answer::{Answer, Response};
use super::auth::Principal;
use super::context::{RequestId, X_REQUEST_ID};
use super::metrics::RequestMetrics;
use super::problem::ErrorShape;
use super::route::Asker;
use super::table::Found;

/// On every answer, unless the handler said otherwise.
const SECURITY_HEADERS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

pub(super) struct Trail {
    pub request_id: RequestId,
    method: Method,
    route: &'static str,
    principal: String,
    remote: Option<SocketAddr>,
    /// Asked every few seconds by machines: of interest only when it fails.
    routine: bool,
    started: Instant,
    metrics: RequestMetrics,
    finished: bool,
}

/// As other servers log it: the connection ended before there was an answer. It is in no registry and never sent.
const CLIENT_GONE: u16 = 499;

impl Trail {
    pub fn begin(method: &Method, headers: &HeaderMap, remote: Option<SocketAddr>) -> Self {
        Self {
            request_id: RequestId::accept_or_mint(headers),
            method: method.clone(),
            route: "unmatched",
            principal: Principal::Anonymous.scope(),
            remote,
            routine: false,
            started: Instant::now(),
            metrics: RequestMetrics::begin(),
            finished: false,
        }
    }

    pub fn matched(&mut self, found: &Found<'_>) {
        self.route = found.name;
        self.routine = found.route.spec.asker == Asker::Operator;
    }

    pub fn admitted(&mut self, principal: &Principal) {
        self.principal = principal.scope();
    }

    /// The answer as it goes out, logged and counted.
    pub fn finish(mut self, outcome: Answer, shape: ErrorShape) -> Response {
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
        self.note(response.status().as_u16(), problem, cause.as_deref());
        response
    }

    /// Line and count, once.
    fn note(&mut self, status: u16, problem: Option<&'static str>, cause: Option<&str>) {
        self.finished = true;
        self.log(status, problem, cause);
        self.metrics
            .finish(self.route, self.method.as_str(), status, self.started.elapsed());
    }

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
        match status {
            500.. => line!(error),
            ..400 if self.routine => line!(debug),
            _ => line!(info),
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if !self.finished {
            self.note(CLIENT_GONE, Some("client-gone"), None);
        }
    }
}

fn add_headers(response: &mut Response, request_id: &RequestId) {
    let headers = response.headers_mut();
    if let Some(value) = request_id.header_value() {
        headers.insert(HeaderName::from_static(X_REQUEST_ID), value);
    }
    for (name, value) in SECURITY_HEADERS {
        let value = HeaderValue::from_static(value);
        headers.entry(HeaderName::from_static(name)).or_insert(value);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}
