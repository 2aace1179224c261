//! Tenants: made for an organisation, carried by carriers, and ended (`end`). Their commands stand in the platform's log.

pub mod end;

use counterfoil_events::command::{Extras, Target};
use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::ledger::NewHead;
use counterfoil_events::membership::Level;
use counterfoil_events::money::Money;
use counterfoil_events::tenant::{Share, TenantCommand};
use counterfoil_events::text::Name;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::commands::Commands;
use crate::http::answer::Answer;
use crate::http::body::Json;
use crate::http::command::{self, CommandAnswer};
use crate::http::organisation::{Reason, Registers, Rename};
use crate::http::problem::{self, ApiError};
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::http::schema::Domain;
use crate::identity::Permission;

/// A new tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// Whose it is.
    #[schema(value_type = String)]
    organisation: OrganisationId,
    /// What people call it, 1 to 120 characters.
    #[schema(value_type = String, example = "Harbour Logistics")]
    name: Name,
}

/// A new tenant of the organisation in the path.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOwnTenant {
    /// What people call it, 1 to 120 characters.
    #[schema(value_type = String, example = "Harbour Logistics")]
    name: Name,
}

/// What a carrier carries.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Carry {
    /// Share of the risk, a decimal above 0 and up to 1; all shares of a tenant together make 1 at the most.
    #[schema(value_type = String, example = "0.6")]
    share: Share,
}

/// Of this name the API description makes a reference, of a generic type it does not.
type Amount = Domain<Money>;

/// How much is at risk.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetExposure {
    /// In micro-units with an ISO 4217 code.
    amount: Amount,
}

/// The group's routes.
pub fn routes(registers: &State<Registers>) -> Vec<Route> {
    let carrier = "/v1/tenants/{tenant}/carriers/{carrier}";
    let tag = "tenants";
    vec![
        Route::post("/v1/tenants", "Create a tenant of an organisation")
            .tag(tag)
            .permission(Permission::TenantsCreate)
            .answers::<CommandAnswer>(201, "Created")
            .handle(registers, create),
        Route::post(
            "/v1/organisations/{organisation}/tenants",
            "Create a tenant of this organisation",
        )
        .tag(tag)
        .permission(Permission::TenantsWrite)
        .answers::<CommandAnswer>(201, "Created")
        .handle(registers, create_own),
        Route::patch("/v1/tenants/{tenant}", "Rename a tenant")
            .tag(tag)
            .permission(Permission::TenantsWrite)
            .answers::<CommandAnswer>(200, "Renamed")
            .handle(registers, rename),
        Route::post("/v1/tenants/{tenant}/suspend", "Stop everything in it")
            .tag(tag)
            .permission(Permission::TenantsSuspend)
            .takes_away()
            .answers::<CommandAnswer>(200, "Suspended")
            .handle(registers, suspend),
        Route::post("/v1/tenants/{tenant}/resume", "Let it go on")
            .tag(tag)
            .permission(Permission::TenantsSuspend)
            .answers::<CommandAnswer>(200, "Resumed")
            .handle(registers, resume),
        Route::put(carrier, "Let a carrier carry a share of its risk")
            .tag(tag)
            .permission(Permission::CarriersWrite)
            .answers::<CommandAnswer>(200, "Carried")
            .handle(registers, carry),
        Route::delete(carrier, "End what a carrier carries")
            .tag(tag)
            .permission(Permission::CarriersWrite)
            .takes_away()
            .answers::<CommandAnswer>(200, "Released")
            .handle(registers, release),
        Route::put("/v1/tenants/{tenant}/exposure", "Say how much is at risk")
            .tag(tag)
            .permission(Permission::ExposureWrite)
            .answers::<CommandAnswer>(200, "Set")
            .handle(registers, set_exposure),
    ]
}

async fn create(registers: Registers, request: Request<Json<CreateTenant>>) -> Answer {
    let Json(CreateTenant { organisation, name }) = &request.body;
    make(&registers.commands, &request, *organisation, name.clone()).await
}

async fn create_own(registers: Registers, request: Request<Json<CreateOwnTenant>>) -> Answer {
    let organisation: OrganisationId = request.param("organisation")?;
    let name = request.body.0.name.clone();
    make(&registers.commands, &request, organisation, name).await
}

async fn make<B>(
    commands: &Commands,
    request: &Request<B>,
    organisation: OrganisationId,
    name: Name,
) -> Answer {
    let owner = commands
        .organisations
        .load(TenantId::PLATFORM, &organisation.to_string())
        .await;
    let owner = owner.map_err(|error| {
        problem::UNAVAILABLE
            .detail("the organisation could not be read")
            .because(error)
    })?;
    if owner.state.details.is_none() {
        let text = format!("there is no organisation {organisation}: create it first");
        return Err(
            ApiError::refused("organisation_not_found", text).field("/organisation", "does not exist")
        );
    }
    let tenant = TenantId::generate();
    let extras = Extras {
        new_heads: vec![NewHead {
            tenant,
            partition: commands.assign_partition(tenant),
        }],
        ..Extras::default()
    };
    let create = TenantCommand::Create {
        organisation,
        name,
        home: false,
    };
    let context = request.context.command(TenantId::PLATFORM);
    let executed = commands
        .tenants
        .execute(&context, Target::New(tenant.to_string()), create, extras)
        .await?;
    command::made(&executed, Some(&format!("/v1/tenants/{}", executed.aggregate_id)))
}

async fn rename(registers: Registers, request: Request<Json<Rename>>) -> Answer {
    let name = request.body.0.name.clone();
    change(&registers, &request, TenantCommand::Rename { name }).await
}

async fn suspend(registers: Registers, request: Request<Json<Reason>>) -> Answer {
    let reason = request.body.0.reason.clone();
    let level = level_of(&request)?;
    change(&registers, &request, TenantCommand::Suspend { reason, level }).await
}

async fn resume(registers: Registers, request: Request) -> Answer {
    let level = level_of(&request)?;
    change(&registers, &request, TenantCommand::Resume { level }).await
}

/// From where the caller may suspend and resume this tenant.
fn level_of<B>(request: &Request<B>) -> Result<Level, ApiError> {
    let level = request.admission.level(&request.context.principal)?;
    level.ok_or_else(|| ApiError::internal("somebody was let in whom nothing permits"))
}

async fn carry(registers: Registers, request: Request<Json<Carry>>) -> Answer {
    let carrier: OrganisationId = request.param("carrier")?;
    let organisation = registers
        .commands
        .organisations
        .load(TenantId::PLATFORM, &carrier.to_string())
        .await;
    let organisation = organisation.map_err(|error| {
        problem::UNAVAILABLE
            .detail("the carrier could not be read")
            .because(error)
    })?;
    if !organisation
        .state
        .details
        .as_ref()
        .is_some_and(|details| details.kind.may_carry())
    {
        let text = format!("organisation {carrier} is no carrier or group: only these carry risk");
        return Err(ApiError::refused("organisation_carries_nothing", text)
            .field("carrier", "is no carrier or group"));
    }
    let share = request.body.0.share;
    change(&registers, &request, TenantCommand::Carry { carrier, share }).await
}

async fn release(registers: Registers, request: Request) -> Answer {
    let carrier: OrganisationId = request.param("carrier")?;
    change(&registers, &request, TenantCommand::Release { carrier }).await
}

async fn set_exposure(registers: Registers, request: Request<Json<SetExposure>>) -> Answer {
    let Json(SetExposure {
        amount: Domain(amount),
    }) = request.body;
    change(&registers, &request, TenantCommand::SetExposure { amount }).await
}

async fn change<B>(registers: &Registers, request: &Request<B>, command: TenantCommand) -> Answer {
    let target = Target::Existing(request.tenant()?.to_string());
    let handler = &registers.commands.tenants;
    let executed = request
        .execute(handler, TenantId::PLATFORM, target, command)
        .await?;
    command::heeded(&registers.security, &executed).await;
    command::changed(&executed)
}
