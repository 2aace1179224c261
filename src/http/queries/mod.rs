//! What can be read: lists and items of the read models, a carrier's rollups, a log's head notes.
//!
//! Every read runs in the one transaction wrapper that binds it to a tenant; row-level security does the rest. A list
//! is paged by key (`limit`, `cursor`, `next`). `Counterfoil-Wait-For` makes a read wait, bounded, until the read model
//! has folded a position: the `Counterfoil-Position` that a command was answered with.

mod head_note;
mod policy_version;
mod resource;
mod rollup;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::{Database, TenantTransaction};
use counterfoil_projections::engine::{self, WaitingRoom};
use tokio::time::Instant;

pub use resource::list_statements;

use super::context::WaitFor;
use super::problem::{self, ApiError};
use super::request::Request;
use super::route::{Route, State};
use crate::commands::Commands;

/// Longest wait for all positions that a request names.
const PATIENCE: Duration = Duration::from_secs(5);

/// What reads stand on.
#[derive(Clone)]
pub struct Queries {
    /// Bound to one tenant per transaction.
    pub database: Database,
    /// Where reads wait for what they ask to see.
    pub waiting: Arc<WaitingRoom>,
    /// Know which tenants there are.
    pub commands: Arc<Commands>,
}

/// The group's routes.
pub fn routes(queries: &State<Arc<Queries>>) -> Vec<Route> {
    let mut routes = resource::routes(queries);
    routes.extend(policy_version::routes(queries));
    routes.extend(rollup::routes(queries));
    routes.extend(head_note::routes(queries));
    routes
}

impl Queries {
    /// A transaction in which the caller sees `tenant`'s rows, once `projection` is as far as the request asks for.
    async fn begin<B, Q>(
        &self,
        request: &Request<B, Q>,
        tenant: TenantId,
        projection: &str,
    ) -> Result<TenantTransaction, ApiError> {
        self.begin_over(request, tenant, projection, &BTreeSet::new())
            .await
    }

    /// The same for a read that stands on the logs of others, too. Of no other log it is told how far it reaches: that would
    /// tell whoever asks what goes on in it.
    async fn begin_over<B, Q>(
        &self,
        request: &Request<B, Q>,
        tenant: TenantId,
        projection: &str,
        others: &BTreeSet<TenantId>,
    ) -> Result<TenantTransaction, ApiError> {
        let read = |log: TenantId| log == tenant || log.is_platform() || others.contains(&log);
        if request.wait_for.iter().any(|wanted| !read(wanted.tenant)) {
            let rule = "name only the logs that this query reads: its tenant's, and the platform's";
            return Err(problem::MALFORMED_REQUEST
                .detail("what Counterfoil-Wait-For names is nothing that this query waits for")
                .field("Counterfoil-Wait-For", rule));
        }
        // One deadline for all that is asked for.
        let deadline = Instant::now() + PATIENCE;
        for wanted in &request.wait_for {
            self.wait(tenant, wanted, projection, deadline).await?;
        }
        self.database.tenant(tenant).await.map_err(unavailable)
    }

    /// Makes sure that a tenant of which nothing was found is one: who may see all tenants could take an id that is
    /// mistyped for a tenant without anything in it.
    async fn exists(&self, tenant: TenantId) -> Result<(), ApiError> {
        let id = tenant.to_string();
        let loaded = self.commands.tenants.load_fresh(TenantId::PLATFORM, &id);
        match loaded.await.map_err(unavailable)?.state.details {
            Some(_) => Ok(()),
            None => Err(ApiError::not_found("tenant", tenant)),
        }
    }

    async fn wait(
        &self,
        reader: TenantId,
        wanted: &WaitFor,
        projection: &str,
        deadline: Instant,
    ) -> Result<(), ApiError> {
        let wait = engine::WaitFor {
            tenant: wanted.tenant,
            position: wanted.position,
        };
        match self.waiting.wait(reader, projection, wait, deadline).await {
            Ok(engine::WaitOutcome::Reached) => Ok(()),
            Ok(engine::WaitOutcome::Parked) => Err(problem::UNAVAILABLE
                .detail(format!(
                    "the event at {wanted} could not be folded into {projection}: it is parked"
                ))
                .with("code", "parked")),
            Ok(engine::WaitOutcome::TimedOut { at }) => Err(problem::UNAVAILABLE
                .detail(format!(
                    "{projection} stands at {at}, not yet at {wanted}: try again"
                ))
                .with("code", "lagging")),
            Err(error @ engine::WaitError::Crowded(_)) => Err(problem::UNAVAILABLE
                .detail(error.to_string())
                .with("code", "crowded")),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> ApiError {
    problem::UNAVAILABLE
        .detail("the read models cannot be read at the moment")
        .because(error)
}
