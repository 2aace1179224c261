//! Organisations: carriers, groups and companies. Their commands stand in the platform's log.

use std::sync::Arc;

use counterfoil_events::command::{Extras, Target};
use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::ledger::NewHead;
use counterfoil_events::organisation::{OrganisationCommand, OrganisationKind};
use counterfoil_events::security::SecurityState;
use counterfoil_events::tenant::TenantCommand;
use counterfoil_events::text::{Code, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer};
use super::body::Json;
use super::command::{self, CommandAnswer};
use super::request::Request;
use super::route::{Route, State};
use crate::commands::Commands;
use crate::identity::Permission;

/// A new organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganisation {
    /// `carrier`, `group` or `company`.
    #[schema(value_type = String, example = "carrier")]
    kind: OrganisationKind,
    /// What people call it, 1 to 120 characters.
    #[schema(value_type = String, example = "Northsea Mutual")]
    name: Name,
}

/// A new organisation, with the tenant in which its own people work.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrganisationMade {
    /// The home tenant's id.
    home_tenant: String,
    #[serde(flatten)]
    made: CommandAnswer,
}

/// Another name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// What people call it, 1 to 120 characters.
    #[schema(value_type = String)]
    pub(super) name: Name,
}

/// Why something is stopped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// A stable code of yours, such as `contract_ended`.
    #[schema(value_type = String, example = "contract_ended")]
    pub(super) reason: Code,
}

/// What the platform's registers stand on: organisations and tenants.
#[derive(Clone)]
pub struct Registers {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// What is suspended, as this process knows it.
    pub security: SecurityState,
}

/// The group's routes.
pub fn routes(registers: &State<Registers>) -> Vec<Route> {
    let (one, tag) = ("/v1/organisations/{organisation}", "organisations");
    vec![
        Route::post("/v1/organisations", "Create an organisation with its home tenant")
            .tag(tag)
            .permission(Permission::OrganisationsCreate)
            .answers::<OrganisationMade>(201, "Created")
            .handle(registers, create),
        Route::patch(one, "Rename an organisation")
            .tag(tag)
            .permission(Permission::OrganisationsWrite)
            .answers::<CommandAnswer>(200, "Renamed")
            .handle(registers, rename),
        Route::post(
            "/v1/organisations/{organisation}/suspend",
            "Stop everything in its tenants",
        )
        .tag(tag)
        .permission(Permission::OrganisationsSuspend)
        .answers::<CommandAnswer>(200, "Suspended")
        .handle(registers, suspend),
        Route::post("/v1/organisations/{organisation}/resume", "Let it go on")
            .tag(tag)
            .permission(Permission::OrganisationsSuspend)
            .answers::<CommandAnswer>(200, "Resumed")
            .handle(registers, resume),
    ]
}

async fn create(registers: Registers, request: Request<Json<CreateOrganisation>>) -> Answer {
    let Json(CreateOrganisation { kind, name }) = request.body;
    let (id, home) = (OrganisationId::generate(), TenantId::generate());
    let commands = &registers.commands;
    let context = request.context.command(TenantId::PLATFORM);
    // The home tenant stands in the same commit: there is no organisation without one.
    let make_home = TenantCommand::Create {
        organisation: id,
        name: name.clone(),
        home: true,
    };
    let tenant = commands
        .tenants
        .decide(TenantId::PLATFORM, &Target::New(home.to_string()), make_home)
        .await?;
    let extras = Extras {
        parts: vec![tenant.append],
        new_heads: vec![NewHead {
            tenant: home,
            partition: commands.assign_partition(home),
        }],
        ..Extras::default()
    };
    let create = OrganisationCommand::Create {
        kind,
        name,
        home_tenant: home,
    };
    let executed = commands
        .organisations
        .execute(&context, Target::New(id.to_string()), create, extras)
        .await?;
    // On a replay it is the first request's organisation, with the home tenant that it got then.
    let made = commands
        .organisations
        .load(TenantId::PLATFORM, &executed.aggregate_id)
        .await;
    let home_tenant = made.map_err(|error| {
        super::problem::UNAVAILABLE
            .detail("it was created, but cannot be read now")
            .because(error)
    })?;
    let home_tenant = home_tenant
        .state
        .details
        .as_ref()
        .map_or(home, |details| details.home_tenant);
    let body = OrganisationMade {
        home_tenant: home_tenant.to_string(),
        made: command::command_answer(&executed),
    };
    let mut response = answer::json(StatusCode::CREATED, &body)?;
    command::put_positions(&mut response, &executed);
    Ok(response)
}

async fn rename(registers: Registers, request: Request<Json<Rename>>) -> Answer {
    let name = request.body.0.name.clone();
    change(&registers, &request, OrganisationCommand::Rename { name }).await
}

async fn suspend(registers: Registers, request: Request<Json<Reason>>) -> Answer {
    let reason = request.body.0.reason.clone();
    change(&registers, &request, OrganisationCommand::Suspend { reason }).await
}

async fn resume(registers: Registers, request: Request) -> Answer {
    change(&registers, &request, OrganisationCommand::Resume).await
}

async fn change<B>(registers: &Registers, request: &Request<B>, command: OrganisationCommand) -> Answer {
    let id: OrganisationId = request.param("organisation")?;
    let target = Target::Existing(id.to_string());
    let handler = &registers.commands.organisations;
    let executed = request
        .execute(handler, TenantId::PLATFORM, target, command)
        .await?;
    command::heeded(&registers.security, &executed).await;
    command::changed(&executed)
}
