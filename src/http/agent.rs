//! Agents of a tenant, and their API keys.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::agent::key::{IssuedKey, KeyPepper};
use counterfoil_events::agent::{AgentCommand, SpecCard};
use counterfoil_events::command::{Executed, Extras, Target};
use counterfoil_events::ids::{AgentId, ApiKeyId};
use counterfoil_events::security::SecurityState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer};
use super::body::{Json, OptionalJson};
use super::command::{self, CommandAnswer};
use super::moment::Moment;
use super::organisation::Reason;
use super::problem::{self, ApiError};
use super::request::Request;
use super::route::{Route, State};
use super::schema::Domain;
use crate::commands::Commands;
use crate::identity::Permission;

/// What the group stands on.
#[derive(Clone)]
pub struct Agents {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// Under which keys are hashed.
    pub pepper: Arc<KeyPepper>,
    /// Who may act, as this process knows it.
    pub security: SecurityState,
}

/// A new API key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IssueKey {
    /// When it stops working; never, if not given.
    expires_at: Option<Moment>,
}

/// A new API key in place of another one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the old key goes on working, in seconds, at most 604800 (a week); 0: not at all.
    #[schema(example = 86_400)]
    grace_s: u32,
    /// When the new key stops working; never, if not given.
    #[serde(default)]
    expires_at: Option<Moment>,
}

/// A new API key, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyIssued {
    /// Its name, for revoking it.
    key_id: String,
    /// The key itself. Keep it now: only its hash is kept here.
    api_key: String,
    #[serde(flatten)]
    issued: CommandAnswer,
}

/// The group's routes.
pub fn routes(agents: &State<Agents>) -> Vec<Route> {
    let (all, one, tag) = (
        "/v1/tenants/{tenant}/agents",
        "/v1/tenants/{tenant}/agents/{agent}",
        "agents",
    );
    vec![
        Route::post(all, "Register an agent")
            .tag(tag)
            .permission(Permission::AgentsWrite)
            .answers::<CommandAnswer>(201, "Registered")
            .handle(agents, register),
        Route::put(one, "Give it another spec card")
            .tag(tag)
            .permission(Permission::AgentsWrite)
            .answers::<CommandAnswer>(200, "Changed")
            .handle(agents, change_card),
        Route::post(
            "/v1/tenants/{tenant}/agents/{agent}/suspend",
            "Deny everything it asks for",
        )
        .tag(tag)
        .permission(Permission::AgentsSuspend)
        .takes_away()
        .answers::<CommandAnswer>(200, "Suspended")
        .handle(agents, suspend),
        Route::post("/v1/tenants/{tenant}/agents/{agent}/resume", "Let it go on")
            .tag(tag)
            .permission(Permission::AgentsSuspend)
            .answers::<CommandAnswer>(200, "Resumed")
            .handle(agents, resume),
        Route::post(
            "/v1/tenants/{tenant}/agents/{agent}/keys",
            "Issue an API key; it is shown once",
        )
        .tag(tag)
        .permission(Permission::AgentKeysIssue)
        .answers::<KeyIssued>(201, "Issued")
        .handle(agents, issue_key),
        Route::post(
            "/v1/tenants/{tenant}/agents/{agent}/keys/{key}/rotate",
            "Issue an API key in its place; it goes on working for a while, and ends by itself",
        )
        .tag(tag)
        .permission(Permission::AgentKeysIssue)
        .answers::<KeyIssued>(201, "Issued")
        .handle(agents, rotate_key),
        Route::post(
            "/v1/tenants/{tenant}/agents/{agent}/keys/{key}/revoke",
            "Let an API key stop working at once",
        )
        .tag(tag)
        .permission(Permission::AgentKeysRevoke)
        .takes_away()
        .answers::<CommandAnswer>(200, "Revoked")
        .handle(agents, revoke_key),
    ]
}

async fn register(agents: Agents, request: Request<Json<Domain<SpecCard>>>) -> Answer {
    let tenant = request.tenant()?;
    let Json(Domain(card)) = &request.body;
    let extras = with_card(card)?;
    let target = Target::New(AgentId::generate().to_string());
    let command = AgentCommand::Register { card: card.clone() };
    let executed = agents
        .commands
        .agents
        .execute(&request.context.command(tenant), target, command, extras)
        .await?;
    command::made(
        &executed,
        Some(&format!("/v1/tenants/{tenant}/agents/{}", executed.aggregate_id)),
    )
}

async fn change_card(agents: Agents, request: Request<Json<Domain<SpecCard>>>) -> Answer {
    let Json(Domain(card)) = &request.body;
    let extras = with_card(card)?;
    change(
        &agents,
        &request,
        AgentCommand::Change { card: card.clone() },
        extras,
    )
    .await
}

fn with_card(card: &SpecCard) -> Result<Extras, super::problem::ApiError> {
    let document = card.document().map_err(|error| command::rejected(&error))?;
    Ok(Extras {
        documents: vec![document],
        ..Extras::default()
    })
}

async fn suspend(agents: Agents, request: Request<Json<Reason>>) -> Answer {
    let reason = request.body.0.reason.clone();
    change(
        &agents,
        &request,
        AgentCommand::Suspend { reason },
        Extras::default(),
    )
    .await
}

async fn resume(agents: Agents, request: Request) -> Answer {
    change(&agents, &request, AgentCommand::Resume, Extras::default()).await
}

async fn issue_key(agents: Agents, request: Request<OptionalJson<IssueKey>>) -> Answer {
    let key = IssuedKey::generate(&agents.pepper);
    let command = AgentCommand::IssueKey {
        key_id: key.id,
        hash: key.hash,
        expires_at: request.body.0.expires_at.map(|moment| moment.0),
        now: agents.security.postgres_time().now(),
    };
    issued(&agents, &request, key, command).await
}

async fn rotate_key(agents: Agents, request: Request<Json<RotateKey>>) -> Answer {
    let key = IssuedKey::generate(&agents.pepper);
    let command = AgentCommand::RotateKey {
        old: request.param("key")?,
        grace: Duration::from_secs(u64::from(request.body.0.grace_s)),
        key_id: key.id,
        hash: key.hash,
        expires_at: request.body.0.expires_at.map(|moment| moment.0),
        now: agents.security.postgres_time().now(),
    };
    issued(&agents, &request, key, command).await
}

/// Carries a command out that leaves a new key, and shows the key.
async fn issued<B>(agents: &Agents, request: &Request<B>, key: IssuedKey, command: AgentCommand) -> Answer {
    let agent: AgentId = request.param("agent")?;
    let target = Target::Existing(agent.to_string());
    let handler = &agents.commands.agents;
    let executed = request
        .execute(handler, request.tenant()?, target, command)
        .await?;
    if executed.replayed {
        return Err(problem::CONFLICT
            .detail("this Idempotency-Key issued a key before; a key is shown once only: revoke that one and issue another"));
    }
    command::heeded(&agents.security, &executed).await;
    let body = KeyIssued {
        key_id: key.id.to_string(),
        api_key: key.expose_text().to_owned(),
        issued: command::command_answer(&executed),
    };
    let mut response = answer::json(StatusCode::CREATED, &body)?;
    command::put_positions(&mut response, &executed);
    Ok(response)
}

async fn revoke_key(agents: Agents, request: Request<Json<Reason>>) -> Answer {
    let key_id: ApiKeyId = request.param("key")?;
    let reason = request.body.0.reason.clone();
    let command = AgentCommand::RevokeKey { key_id, reason };
    let executed = execute(&agents, &request, command, Extras::default()).await?;
    command::heeded(&agents.security, &executed).await;
    command::changed(&executed)
}

async fn change<B>(agents: &Agents, request: &Request<B>, command: AgentCommand, extras: Extras) -> Answer {
    command::changed(&execute(agents, request, command, extras).await?)
}

async fn execute<B>(
    agents: &Agents,
    request: &Request<B>,
    command: AgentCommand,
    extras: Extras,
) -> Result<Executed, ApiError> {
    let agent: AgentId = request.param("agent")?;
    let context = request.context.command(request.tenant()?);
    let target = Target::Existing(agent.to_string());
    let handler = &agents.commands.agents;
    Ok(handler.execute(&context, target, command, extras).await?)
}
