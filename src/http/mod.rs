//! The HTTP face: one server, one route table as data, problem documents, streams.
//!
//! Read `route.rs` and `api.rs` to add an endpoint group, `dispatch.rs` for what happens to every request, `server.rs` for
//! connections and draining. One file per endpoint group stands beside them.

mod admission;
mod bootstrap_token;
mod connection;
mod patience;
mod shape;
mod standing;
mod trail;

pub mod administration;
pub mod agent;
pub mod answer;
pub mod api;
pub mod auth;
pub mod body;
pub mod client_address;
pub mod command;
pub mod context;
pub mod dispatch;
pub mod event_schemas;
pub mod events;
pub mod guard;
pub mod health;
pub mod intake;
pub mod issuer;
pub mod json_check;
pub mod kri;
pub mod lifecycle;
pub mod metrics;
pub mod moment;
pub mod openapi;
pub mod organisation;
pub mod origin;
pub mod policy;
pub mod problem;
pub mod queries;
pub mod query;
pub mod request;
pub mod route;
pub mod schema;
pub mod secret;
pub mod server;
pub mod session;
pub mod stream;
pub mod subject;
pub mod subscriber;
pub mod table;
pub mod tenant;
pub mod user;

pub use answer::{Answer, Listing, Response};
pub use auth::{
    Access, Admission, Admitted, AgentPrincipal, Authenticate, Authenticators, BootstrapToken, Principal,
    UserPrincipal,
};
pub use body::{Json, NoBody};
pub use context::{RequestContext, RequestId, WaitFor};
pub use dispatch::Dispatcher;
pub use guard::Guard;
pub use health::{Component, Readiness};
pub use intake::IntakeLimits;
pub use lifecycle::Lifecycle;
pub use origin::OriginProof;
pub use problem::{ApiError, ErrorShape, ProblemType};
pub use query::{Cursor, Limit, NoQuery, Query};
pub use request::Request;
pub use route::{Route, State};
pub use server::{BindError, Server, ServerLimits};
pub use table::{Group, RouteTable};

#[cfg(test)]
mod tests;
