//! What a handler gets: `Request<B, Q>`, typed by the body and query it takes.
//!
//! A handler's signature *is* its contract: `Request<Json<RegisterAgent>>` takes a JSON body of that type,
//! `Request<NoBody, Query<ListAgents>>` takes those query parameters, and the API description is made from
//! the same types. What does not fit is answered before the handler runs.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use counterfoil_events::ids::TenantId;
use warp::http::HeaderMap;

use super::auth::Admission;
use super::body::{NoBody, RequestBody};
use super::context::{RequestContext, WaitFor};
use super::intake::HeldMemory;
use super::lifecycle::Lifecycle;
use super::problem::{self, ApiError};
use super::query::{NoQuery, RequestQuery};
use super::stream::Upgrade;

/// A request that has passed the permission check and the reading of its body and query.
#[derive(Debug)]
pub struct Request<B = NoBody, Q = NoQuery> {
    /// Request id, principal, tenant, idempotency key …
    pub context: RequestContext,
    /// The body, as the route declares it.
    pub body: B,
    /// The query parameters, as the route declares them.
    pub query: Q,
    /// All headers.
    pub headers: HeaderMap,
    /// What the read model must have reached before a query answers.
    pub wait_for: Vec<WaitFor>,
    /// Present when the client asks for a WebSocket.
    pub upgrade: Option<Upgrade>,
    /// For work that outlives the answer, and to end long streams.
    pub lifecycle: Lifecycle,
    /// By what right it was let in.
    pub admission: Admission,
    params: PathParams,
    _held_memory: HeldMemory,
}

impl<B, Q> Request<B, Q> {
    /// The path parameter of this name.
    ///
    /// # Errors
    /// 400 naming the parameter, when it does not parse. Asking for a name that is not in the route's
    /// template is a fault of ours.
    pub fn param<T>(&self, name: &str) -> Result<T, ApiError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.params.get(name).ok_or_else(|| {
            ApiError::internal(format!("route {} has no parameter {name}", self.context.route))
        })?;
        text.parse().map_err(|error: T::Err| bad_param(name, &error))
    }

    /// The path parameter of this name, which is a whole number.
    ///
    /// # Errors
    /// As [`param`](Self::param).
    pub fn number(&self, name: &str) -> Result<u32, ApiError> {
        let text: String = self.param(name)?;
        let wanted = format!("a whole number from 0 to {}", u32::MAX);
        text.parse().map_err(|_| bad_param(name, &wanted))
    }

    /// All path parameters.
    pub(crate) fn params(&self) -> &PathParams {
        &self.params
    }

    /// The `{tenant}` of the path, or of the agent's key.
    ///
    /// # Errors
    /// Asking on a route that has neither is a fault of ours.
    pub fn tenant(&self) -> Result<TenantId, ApiError> {
        self.context
            .tenant
            .ok_or_else(|| ApiError::internal(format!("route {} names no tenant", self.context.route)))
    }
}

pub(crate) fn bad_param(name: &str, error: &dyn Display) -> ApiError {
    problem::INVALID_PARAMETER
        .detail(format!("path parameter {name} cannot be read"))
        .field(name, error.to_string())
}

/// The values of a template's parameters, percent-decoded.
#[derive(Debug, Clone, Default)]
pub struct PathParams(pub(super) Vec<(&'static str, String)>);

impl PathParams {
    /// The value of this parameter, if the template has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A request before its body and query are read.
#[derive(Debug)]
pub struct RawRequest {
    pub(super) context: RequestContext,
    pub(super) headers: HeaderMap,
    pub(super) wait_for: Vec<WaitFor>,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) lifecycle: Lifecycle,
    pub(super) admission: Admission,
    pub(super) params: PathParams,
    pub(super) query: String,
    pub(super) body: Bytes,
    pub(super) held_memory: HeldMemory,
}

impl RawRequest {
    pub(super) fn read<B: RequestBody, Q: RequestQuery>(self) -> Result<Request<B, Q>, ApiError> {
        let query = Q::read(&self.query)?;
        let body = B::read(&self.headers, &self.body)?;
        Ok(Request {
            context: self.context,
            body,
            query,
            headers: self.headers,
            wait_for: self.wait_for,
            upgrade: self.upgrade,
            lifecycle: self.lifecycle,
            admission: self.admission,
            params: self.params,
            _held_memory: self.held_memory,
        })
    }
}
