//! Policies of a tenant, in versions, for its own layer or (in a home tenant) its organisation's.

use std::sync::Arc;

use counterfoil_events::command::{Executed, Extras, LoadError, Target, decode_stored};
use counterfoil_events::document::Document;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::policy::{Policy, PolicyCommand, PolicyEvent, PolicyLayer};
use counterfoil_events::security::SecurityState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer};
use super::body::{Json, OptionalJson};
use super::command::{self, CommandAnswer};
use super::problem::{self, ApiError};
use super::request::Request;
use super::route::{Route, State};
use crate::commands::Commands;
use crate::identity::Permission;
use crate::policy::{CheckError, PolicyEngine};

/// What the group stands on.
#[derive(Clone)]
pub struct Policies {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// Compiles what is published and runs its tests.
    pub engine: Arc<PolicyEngine>,
    /// What decides, as this process knows it.
    pub security: SecurityState,
}

/// A new version of a policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Rego, with `test_…` rules of its own; see docs/policy-contract.md.
    source: String,
}

/// A published version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Published {
    /// Its number, for activating it.
    version: u32,
    /// Digest of its source.
    digest: String,
    /// How many tests of its own it passed.
    tests: u32,
    #[serde(flatten)]
    published: CommandAnswer,
}

/// Which version decides again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollBack {
    /// A version that was active before; the one before the active one, if not given.
    to: Option<u32>,
}

/// The group's routes.
pub fn routes(policies: &State<Policies>) -> Vec<Route> {
    let tag = "policies";
    vec![
        Route::post(
            "/v1/tenants/{tenant}/policies/{layer}/versions",
            "Publish a version: it must compile and pass its tests",
        )
        .tag(tag)
        .permission(Permission::PoliciesPublish)
        .answers::<Published>(201, "Published; it decides nothing until it is activated")
        .handle(policies, publish),
        Route::post(
            "/v1/tenants/{tenant}/policies/{layer}/versions/{version}/activate",
            "Let a version decide",
        )
        .tag(tag)
        .permission(Permission::PoliciesActivate)
        .answers::<CommandAnswer>(200, "Active")
        .handle(policies, activate),
        Route::post(
            "/v1/tenants/{tenant}/policies/{layer}/rollback",
            "Let a former version decide again",
        )
        .tag(tag)
        .permission(Permission::PoliciesActivate)
        .answers::<CommandAnswer>(200, "Active")
        .handle(policies, roll_back),
    ]
}

async fn publish(policies: Policies, request: Request<Json<Publish>>) -> Answer {
    let tenant = request.tenant()?;
    let layer = layer(&policies, tenant, &request).await?;
    let source = &request.body.0.source;
    let checked = policies.engine.check(source.clone()).await.map_err(refused)?;
    let document = Document::new(source.clone())
        .map_err(|error| ApiError::refused("policy_too_large", error.to_string()))?;
    let command = PolicyCommand::Publish {
        source: document.reference(),
        tests: u32::try_from(checked.tests.passed).unwrap_or(u32::MAX),
    };
    let extras = Extras {
        documents: vec![document],
        ..Extras::default()
    };
    let target = Target::Existing(layer.to_string());
    let context = request.context.command(tenant);
    let executed = policies
        .commands
        .policies
        .execute(&context, target, command, extras)
        .await?;
    let version = published_version(&policies, &executed).await?;
    let body = Published {
        version,
        digest: checked.digest.to_string(),
        tests: u32::try_from(checked.tests.passed).unwrap_or(u32::MAX),
        published: command::command_answer(&executed),
    };
    let mut response = answer::json(StatusCode::CREATED, &body)?;
    command::put_positions(&mut response, &executed);
    Ok(response)
}

/// The number that the event gave it: on a replay the first request's.
async fn published_version(policies: &Policies, executed: &Executed) -> Result<u32, ApiError> {
    let unreadable = |error: LoadError| {
        problem::UNAVAILABLE
            .detail("it is published, but cannot be read now")
            .because(error)
    };
    let receipt = executed
        .receipts
        .first()
        .ok_or_else(|| ApiError::internal("a publication without a receipt"))?;
    let reader = policies.commands.sequencer.reader();
    let before = Position(receipt.position.0.saturating_sub(1));
    let page = reader
        .page(receipt.tenant, before, receipt.position, 1)
        .await
        .map_err(|error| unreadable(error.into()))?;
    match page
        .first()
        .map(decode_stored::<Policy>)
        .transpose()
        .map_err(unreadable)?
    {
        Some(PolicyEvent::PolicyPublished { version, .. }) => Ok(version),
        _ => Err(ApiError::internal("a publication's receipt names another event")),
    }
}

/// A broken policy is the author's to mend: which line, and why.
fn refused(error: CheckError) -> ApiError {
    match error {
        CheckError::Policy(error) => {
            let text = error.to_string();
            let refusal = ApiError::refused(error.code(), text.clone()).field("/source", text);
            match error.place() {
                Some(place) => refusal.with("line", place.line).with("column", place.column),
                None => refusal,
            }
        }
        CheckError::Unavailable(error) => problem::UNAVAILABLE.detail(error.to_string()),
    }
}

async fn activate(policies: Policies, request: Request) -> Answer {
    let version = request.number("version")?;
    change(&policies, &request, PolicyCommand::Activate { version }).await
}

async fn roll_back(policies: Policies, request: Request<OptionalJson<RollBack>>) -> Answer {
    let to = request.body.0.to;
    change(&policies, &request, PolicyCommand::RollBack { to }).await
}

async fn change<B>(policies: &Policies, request: &Request<B>, command: PolicyCommand) -> Answer {
    let tenant = request.tenant()?;
    let target = Target::Existing(layer(policies, tenant, request).await?.to_string());
    let executed = request
        .execute(&policies.commands.policies, tenant, target, command)
        .await?;
    command::heeded(&policies.security, &executed).await;
    command::changed(&executed)
}

/// The layer that the path names. An organisation's policy stands in its home tenant's log, where it binds all tenants.
async fn layer<B>(
    policies: &Policies,
    tenant: TenantId,
    request: &Request<B>,
) -> Result<PolicyLayer, ApiError> {
    let layer: PolicyLayer = request.param("layer")?;
    if layer == PolicyLayer::Organisation {
        let loaded = policies
            .commands
            .tenants
            .load(TenantId::PLATFORM, &tenant.to_string())
            .await;
        let loaded = loaded.map_err(|error| {
            problem::UNAVAILABLE
                .detail("the tenant could not be read")
                .because(error)
        })?;
        if !loaded.state.details.as_ref().is_some_and(|details| details.home) {
            let text = "an organisation's policy is published in its home tenant; this tenant is not one";
            return Err(ApiError::refused("policy_not_in_home_tenant", text)
                .field("layer", "is `tenant` for every tenant but a home tenant"));
        }
    }
    Ok(layer)
}
