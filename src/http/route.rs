//! One route as data: method, path template, permission, body, answers and handler.
//!
//! An endpoint group is a function that returns `Vec<Route>`:
//!
//! ```ignore
//! pub fn routes(agents: &State<Arc<Agents>>) -> Vec<Route> {
//!     vec![
//!         Route::post("/v1/tenants/{tenant}/agents", "Register an agent")
//!             .tag("agents")
//!             .permission(Permission::AgentsWrite)
//!             .answers::<Receipt>(201, "Registered; the receipt of its event")
//!             .handle(agents, register),
//!     ]
//! }
//!
//! async fn register(agents: Arc<Agents>, request: Request<Json<RegisterAgent>>) -> Answer { … }
//! ```
//!
//! A route that names no permission has no `handle`: it does not compile.
//!
//! Body and query are inferred from the handler's signature, so that table and handler cannot disagree.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use utoipa::ToSchema;
use utoipa::openapi::path::Parameter;
use warp::http::Method;

use super::answer::Answer;
use super::auth::Access;
use super::body::{BodyDescription, RequestBody};
use super::problem::ApiError;
use super::query::RequestQuery;
use super::request::{RawRequest, Request};
use super::schema::SchemaRef;

/// Largest body unless the route says otherwise: 1 MiB, the size of a document. A `GET` that takes no body reads none.
pub const DEFAULT_BODY_LIMIT_BYTES: usize = 1 << 20;
/// Largest body of a command that takes none: enough to name what was sent in vain.
const EMPTY_BODY_LIMIT_BYTES: usize = 4096;
/// Longest a handler may take to begin its answer unless the route says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// What a group's handlers stand on, or nothing: routes can be described where nothing runs that could serve
/// them (`counterfoil openapi`).
#[derive(Debug, Clone)]
pub struct State<S>(Option<S>);

impl<S> State<S> {
    /// A state to serve with.
    #[must_use]
    pub fn new(state: S) -> Self {
        Self(Some(state))
    }
}

impl<S: Clone> State<S> {
    fn get(&self) -> Result<S, ApiError> {
        self.0
            .clone()
            .ok_or_else(|| ApiError::internal("a route that is only described was asked to serve"))
    }
}

impl<S> Default for State<S> {
    /// Nothing: the routes are only described.
    fn default() -> Self {
        Self(None)
    }
}

type BoxedHandler = Arc<dyn Fn(RawRequest) -> BoxFuture<'static, Answer> + Send + Sync>;

/// One entry of the route table.
#[derive(Clone)]
pub struct Route {
    pub(super) spec: RouteSpec<Access>,
    pub(super) body: Option<BodyDescription>,
    pub(super) query: Vec<Parameter>,
    pub(super) handler: BoxedHandler,
}

/// Nobody has said yet what a route asks of its caller.
#[derive(Debug, Clone, Copy)]
pub struct Unsaid;

/// What a route is, before it has a handler. Only one with a permission (`A` is [`Access`]) can get one.
#[derive(Debug, Clone)]
pub struct RouteSpec<A = Unsaid> {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) tag: &'static str,
    pub(super) asker: Asker,
    pub(super) access: A,
    pub(super) takes_away: bool,
    pub(super) body_limit_bytes: usize,
    pub(super) timeout: Duration,
    pub(super) answers: Vec<AnswerDescription>,
}

/// Who asks a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Clients, through the edge: they prove it where that is configured.
    Client,
    /// Whoever runs the process, directly: no proof of origin is asked for, and it is no news in the access log.
    Operator,
}

/// One answer that a route gives, for the API description.
#[derive(Debug, Clone)]
pub struct AnswerDescription {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) content_type: &'static str,
    pub(super) schema: Option<SchemaRef>,
}

impl Route {
    /// A `GET`; `HEAD` is answered by it as well.
    #[must_use]
    pub fn get(path: &'static str, summary: &'static str) -> RouteSpec {
        RouteSpec::new(Method::GET, path, summary)
    }

    /// A `POST`.
    #[must_use]
    pub fn post(path: &'static str, summary: &'static str) -> RouteSpec {
        RouteSpec::new(Method::POST, path, summary)
    }

    /// A `PUT`.
    #[must_use]
    pub fn put(path: &'static str, summary: &'static str) -> RouteSpec {
        RouteSpec::new(Method::PUT, path, summary)
    }

    /// A `PATCH`.
    #[must_use]
    pub fn patch(path: &'static str, summary: &'static str) -> RouteSpec {
        RouteSpec::new(Method::PATCH, path, summary)
    }

    /// A `DELETE`.
    #[must_use]
    pub fn delete(path: &'static str, summary: &'static str) -> RouteSpec {
        RouteSpec::new(Method::DELETE, path, summary)
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.spec.method
    }

    /// Its path template.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.spec.path
    }

    /// What it asks of its caller.
    #[must_use]
    pub fn access(&self) -> Access {
        self.spec.access
    }
}

impl RouteSpec {
    fn new(method: Method, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            tag: "platform",
            asker: Asker::Client,
            access: Unsaid,
            takes_away: false,
            body_limit_bytes: DEFAULT_BODY_LIMIT_BYTES,
            timeout: DEFAULT_TIMEOUT,
            answers: Vec::new(),
        }
    }

    /// What it asks of its caller.
    #[must_use]
    pub fn permission(self, access: impl Into<Access>) -> RouteSpec<Access> {
        RouteSpec {
            method: self.method,
            path: self.path,
            summary: self.summary,
            tag: self.tag,
            asker: self.asker,
            access: access.into(),
            takes_away: self.takes_away,
            body_limit_bytes: self.body_limit_bytes,
            timeout: self.timeout,
            answers: self.answers,
        }
    }
}

impl<A> RouteSpec<A> {
    /// The group it is listed under in the API description.
    #[must_use]
    pub fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// Who asks it, if not clients.
    #[must_use]
    pub fn asked_by(mut self, asker: Asker) -> Self {
        self.asker = asker;
        self
    }

    /// It only takes away, be it a key, a role or what an agent may do: it is carried out where things are suspended, too.
    #[must_use]
    pub fn takes_away(mut self) -> Self {
        self.takes_away = true;
        self
    }

    /// Largest body it takes.
    #[must_use]
    pub fn body_limit_bytes(mut self, limit: usize) -> Self {
        self.body_limit_bytes = limit;
        self
    }

    /// Longest its handler may take to begin the answer (a stream then goes on by itself).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A JSON answer of type `T`.
    #[must_use]
    pub fn answers<T: ToSchema>(self, status: u16, description: &'static str) -> Self {
        let schema = Some(SchemaRef::of::<T>());
        self.answer(AnswerDescription {
            status,
            description,
            content_type: "application/json",
            schema,
        })
    }

    /// An answer of another content type (`text/event-stream`); an empty one for an answer without body.
    #[must_use]
    pub fn answers_as(self, status: u16, description: &'static str, content_type: &'static str) -> Self {
        self.answer(AnswerDescription {
            status,
            description,
            content_type,
            schema: None,
        })
    }

    fn answer(mut self, answer: AnswerDescription) -> Self {
        self.answers.push(answer);
        self
    }
}

impl RouteSpec<Access> {
    /// Completes the route. The handler's signature says which body and query it takes.
    #[must_use]
    pub fn handle<S, B, Q, F, Fut>(self, state: &State<S>, handler: F) -> Route
    where
        S: Clone + Send + Sync + 'static,
        B: RequestBody,
        Q: RequestQuery,
        F: Fn(S, Request<B, Q>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let state = state.clone();
        let handler: BoxedHandler = Arc::new(move |raw: RawRequest| {
            match state.get().and_then(|state| Ok((state, raw.read::<B, Q>()?))) {
                Ok((state, request)) => handler(state, request).boxed(),
                Err(error) => futures::future::ready(Err(error)).boxed(),
            }
        });
        let (mut spec, body) = (self, B::describe());
        if body.is_none() {
            // A command may come with an empty object; of a question nothing is read that no handler looks at.
            spec.body_limit_bytes = if spec.method == Method::GET {
                0
            } else {
                EMPTY_BODY_LIMIT_BYTES
            };
        }
        Route {
            spec,
            body,
            query: Q::describe(),
            handler,
        }
    }
}
