//! From bytes to a handler and back, the same way for every route:
//!
//! 1. request id, shape of errors, and the security headers that every answer will have;
//! 2. the proof of origin (403), before anything is told of what is here;
//! 3. the route (404, 405), and in its path the tenant, which is a hint until somebody is known;
//! 4. of a browser's session, whether it is in use and no other site sends it; who it is (for a token by a key that is not
//!    known, its issuer is asked first), then whether it may, in this one place and before the body is read (401, 403, 404,
//!    429); a crossing into a tenant is put on record here;
//! 5. headers and path parameters that every route shares (400);
//! 6. the body, up to the route's limit, within a time (413, 408);
//! 7. the handler, within a time; a panic is a 500, not a closed connection;
//! 8. what is left of the body of a refused request is read, within bounds, so that its sender sees the answer;
//! 9. headers of every answer, one line in the access log, metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use bytes::Buf;
use counterfoil_events::ids::TenantId;
use futures::{FutureExt, Stream, StreamExt};
use warp::Filter;
use warp::http::{HeaderMap, Method};

use super::answer::{Answer, Response};
use super::auth::{Admission, Admitted, Authenticators, Principal};
use super::context::{IdempotencyKey, RequestContext, RequestFingerprint, RequestId, TraceParent, WaitFor};
use super::guard::Guard;
use super::intake::{self, Intake, IntakeLimits};
use super::lifecycle::Lifecycle;
use super::problem::{self, ApiError, ErrorShape};
use super::request::{PathParams, RawRequest, bad_param};
use super::route::{Asker, Route};
use super::session::Asked;
use super::stream::Upgrade;
use super::table::{Found, RouteTable};
use super::trail::Trail;

/// The peer's address, put beside each request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

/// Takes every request to its route.
pub struct Dispatcher {
    table: RouteTable,
    authenticators: Authenticators,
    lifecycle: Lifecycle,
    intake: Intake,
    guard: Guard,
}

/// What warp hands over.
struct Incoming {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    /// The client's address, see `client_address`; the connection's until that is known.
    peer: Option<SocketAddr>,
    upgrade: Option<Upgrade>,
}

impl Dispatcher {
    /// Over this table, with these kinds of credential.
    #[must_use]
    pub fn new(
        table: RouteTable,
        authenticators: Authenticators,
        lifecycle: Lifecycle,
        limits: IntakeLimits,
    ) -> Self {
        Self {
            table,
            authenticators,
            lifecycle,
            intake: Intake::new(limits),
            guard: Guard::default(),
        }
    }

    /// With this guard around the permission check.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    async fn serve<S, C>(&self, mut incoming: Incoming, body: S) -> Response
    where
        S: Stream<Item = Result<C, warp::Error>> + Send,
        C: Buf,
    {
        incoming.peer = incoming
            .peer
            .map(|peer| self.guard.client(peer, &incoming.headers));
        let mut trail = Trail::begin(&incoming.method, &incoming.headers, incoming.peer);
        let shape = self.table.shape_of(&incoming.path);
        let is_sending = intake::is_sending(&incoming.headers);
        let mut body = pin!(body.fuse());
        let outcome = self.route(incoming, body.as_mut(), &mut trail).await;
        if is_sending
            && outcome
                .as_ref()
                .is_err_and(|error| error.kind() != problem::REQUEST_TIMEOUT)
        {
            intake::discard(body).await;
        }
        let mut response = trail.finish(outcome, shape);
        self.guard.seal(&mut response);
        response
    }

    async fn route<S, C>(&self, incoming: Incoming, body: S, trail: &mut Trail) -> Answer
    where
        S: Stream<Item = Result<C, warp::Error>> + Send,
        C: Buf,
    {
        let Incoming {
            method,
            path,
            headers,
            peer,
            ..
        } = &incoming;
        let found = self.table.find(method, path);
        if !found
            .as_ref()
            .is_ok_and(|found| found.route.spec.asker == Asker::Operator)
        {
            self.guard.origin(method, path, headers)?;
        }
        let found = found?;
        trail.matched(&found);
        let access = found.route.spec.access;
        let asked = Asked {
            method,
            headers,
            upgrades: incoming.upgrade.is_some(),
        };
        self.authenticators
            .session_stands(access, asked)
            .await
            .map_err(|error| self.guard.refused(error, *peer))?;
        self.authenticators.prepare(access, headers).await;
        let Admitted { principal, crossing } = self
            .authenticators
            .admit(found.route.spec.access, &found.params, headers)
            .map_err(|error| self.guard.refused(error, *peer))?;
        trail.admitted(&principal);
        self.guard.command(&principal, method)?;
        self.authenticators
            .refuse_where_stopped(&principal, &found.route.spec, &found.params)?;
        if let Some(crossing) = &crossing {
            self.authenticators.enter(crossing, &trail.request_id).await?;
        }
        let raw = self.read(&found, principal, (incoming, body), trail).await?;
        run(found.route, raw).await
    }

    async fn read<S, C>(
        &self,
        found: &Found<'_>,
        principal: Principal,
        (incoming, body): (Incoming, S),
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
        } = incoming;
        let tenant = tenant_of(&found.params, &principal)?;
        let idempotency_key = IdempotencyKey::from_headers(&headers)?;
        let wait_for = WaitFor::from_headers(&headers)?;
        let limit = found.route.spec.body_limit_bytes;
        let (body, held_memory) = self.intake.read(&headers, body, limit).await?;
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
        let admission = Admission::new(&self.authenticators, found.route.spec.access, &params, &headers);
        Ok(RawRequest {
            context,
            headers,
            wait_for,
            upgrade,
            lifecycle,
            admission,
            params,
            query,
            body,
            held_memory,
        })
    }
}

async fn run(route: &Route, raw: RawRequest) -> Answer {
    let timeout = route.spec.timeout;
    // What a panicking handler leaves behind is dropped with its future; shared state guards itself.
    let handler = AssertUnwindSafe(async {
        // Whoever asks how the process is would use up what a test set for somebody else.
        if route.spec.asker == Asker::Client {
            fail::fail_point!("http.in_handler");
        }
        (route.handler)(raw).await
    })
    .catch_unwind();
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
fn tenant_of(params: &PathParams, principal: &Principal) -> Result<Option<TenantId>, ApiError> {
    match (params.get("tenant"), principal) {
        (Some(text), _) => text
            .parse()
            .map(Some)
            .map_err(|error| bad_param("tenant", &error)),
        (None, Principal::Agent(agent)) => Ok(Some(agent.tenant)),
        (None, _) => Ok(None),
    }
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
                    let incoming = Incoming {
                        method,
                        path,
                        query,
                        headers,
                        peer,
                        upgrade,
                    };
                    dispatcher.serve(incoming, body).await
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
