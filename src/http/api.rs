//! The whole API: every endpoint group and what it stands on. A new group is a field and a line here.

use std::sync::Arc;

use super::administration;
use super::agent::{self, Agents};
use super::event_schemas;
use super::events::{self, Events};
use super::health::{self, Readiness};
use super::issuer::{self, Issuers};
use super::kri::{self, Kris};
use super::organisation::{self, Registers};
use super::origin;
use super::policy::{self, Policies};
use super::queries::{self, Queries};
use super::route::State;
use super::secret::{self, SecretRoutes};
use super::session::{self, SessionRoutes};
use super::subject;
use super::subscriber::{self, SubscriberRoutes};
use super::table::{Group, RouteTable, TableError};
use super::tenant::{self, end::TenantEnds};
use super::user::{self, Users};
use crate::commands::Commands;
use crate::gateway::Gateway;

/// What the endpoint groups stand on. `Api::default()` has nothing: enough to describe the API.
#[derive(Clone, Default)]
pub struct Api {
    /// Health of the process's parts.
    pub readiness: State<Readiness>,
    /// The commands of all contexts.
    pub commands: State<Arc<Commands>>,
    /// What organisations' and tenants' routes stand on.
    pub registers: State<Registers>,
    /// What the end of tenants stands on.
    pub tenant_ends: State<TenantEnds>,
    /// What agents' routes stand on.
    pub agents: State<Agents>,
    /// What sessions' routes stand on.
    pub sessions: State<SessionRoutes>,
    /// What users' routes stand on.
    pub users: State<Users>,
    /// What issuers' routes stand on.
    pub issuers: State<Issuers>,
    /// What policies' routes stand on.
    pub policies: State<Policies>,
    /// What completions stand on.
    pub gateway: State<Gateway>,
    /// What reads stand on.
    pub queries: State<Arc<Queries>>,
    /// What logs are followed by.
    pub events: State<Events>,
    /// What KRIs' routes stand on.
    pub kris: State<Kris>,
    /// What subscribers' routes stand on.
    pub subscribers: State<SubscriberRoutes>,
    /// What secrets' routes stand on.
    pub secrets: State<SecretRoutes>,
}

/// The route table of the API.
///
/// # Errors
/// A mistake in the routes; a test makes sure that there is none.
pub fn table(api: &Api) -> Result<RouteTable, TableError> {
    RouteTable::build(vec![
        Group::new(health::routes(&api.readiness)),
        Group::new(organisation::routes(&api.registers)),
        Group::new(tenant::routes(&api.registers)),
        Group::new(tenant::end::routes(&api.tenant_ends)),
        Group::new(origin::switch::routes(&api.commands)),
        Group::new(session::routes(&api.sessions)),
        Group::new(user::routes(&api.users)),
        Group::new(subject::routes(&api.users)),
        Group::new(administration::routes(&api.commands)),
        Group::new(issuer::routes(&api.issuers)),
        Group::new(agent::routes(&api.agents)),
        Group::new(policy::routes(&api.policies)),
        crate::gateway::handler::group(&api.gateway),
        Group::new(kri::routes(&api.kris)),
        Group::new(secret::routes(&api.secrets)),
        Group::new(subscriber::routes(&api.subscribers)),
        Group::new(queries::routes(&api.queries)),
        Group::new(events::routes(&api.events)),
        Group::new(event_schemas::routes()),
    ])
}

/// The route table of a process without the `api` role: how it is, and nothing more.
///
/// # Errors
/// A mistake in the routes.
pub fn health_table(readiness: &State<Readiness>) -> Result<RouteTable, TableError> {
    RouteTable::build(vec![Group::new(health::routes(readiness))])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_route_table_has_no_ambiguity_and_can_be_described_with_nothing_running() {
        table(&Api::default()).unwrap();
    }
}
