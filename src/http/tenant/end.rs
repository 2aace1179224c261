//! The end of a tenant: closed until a date, then erased. Neither can be taken back.
//!
//! Before it comes what exists already: `suspend`, so that nothing comes in, and `counterfoil audit export`, so that its
//! owner has the log. A closed tenant is read as before, by whoever may read it.
//!
//! Erasing destroys first and records then: an event that says so is true. Cut off in between, the command is sent again.
//! The log itself stays, byte for byte, and verifies: what is sensitive was never in it.

use counterfoil_events::command::Target;
use counterfoil_events::ids::TenantId;
use counterfoil_events::tenant::{TenantCommand, TenantError};
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::change;
use crate::erasure::Erasure;
use crate::http::answer::Answer;
use crate::http::body::Json;
use crate::http::command::{self, CommandAnswer};
use crate::http::moment::Moment;
use crate::http::organisation::Registers;
use crate::http::problem::{self, ApiError};
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::identity::Permission;

/// What the routes stand on.
#[derive(Clone)]
pub struct TenantEnds {
    /// The commands, and what they change.
    pub registers: Registers,
    /// What destroys.
    pub erasure: Erasure,
}

/// Until when, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseTenant {
    /// Why, as a stable code; it stands in the log.
    #[schema(value_type = String, example = "contract_ended")]
    reason: Code,
    /// Until when everything of it is kept: from now to 30 years from now.
    retain_until: Moment,
}

/// The group's routes.
pub fn routes(ends: &State<TenantEnds>) -> Vec<Route> {
    let tag = "tenants";
    vec![
        Route::post(
            "/v1/tenants/{tenant}/close",
            "End it for good; it is kept until a date",
        )
        .tag(tag)
        .permission(Permission::TenantsClose)
        .answers::<CommandAnswer>(200, "Closed")
        .handle(ends, close),
        Route::post(
            "/v1/tenants/{tenant}/erase",
            "Destroy its secrets and what links people to it, after that date",
        )
        .tag(tag)
        .permission(Permission::TenantsClose)
        .answers::<CommandAnswer>(200, "Erased; its log stays, and verifies")
        .handle(ends, erase),
    ]
}

async fn close(ends: TenantEnds, request: Request<Json<CloseTenant>>) -> Answer {
    let Json(CloseTenant { reason, retain_until }) = &request.body;
    let command = TenantCommand::Close {
        reason: reason.clone(),
        retain_until: retain_until.0,
        now: now(&ends).await?,
    };
    change(&ends.registers, &request, command).await
}

/// By the clock of the log: what is destroyed is gone, and a process whose own clock runs ahead would do it too early.
async fn now(ends: &TenantEnds) -> Result<Timestamp, ApiError> {
    let now = ends.registers.commands.sequencer.reader().now();
    now.await.map_err(|error| {
        problem::UNAVAILABLE
            .detail("the time cannot be had from the log; nothing was done")
            .because(error)
    })
}

async fn erase(ends: TenantEnds, request: Request) -> Answer {
    let tenant = request.tenant()?;
    let now = now(&ends).await?;
    let handler = &ends.registers.commands.tenants;
    let loaded = handler.load_fresh(TenantId::PLATFORM, &tenant.to_string()).await;
    let loaded = loaded.map_err(|error| {
        problem::UNAVAILABLE
            .detail("the tenant could not be read; nothing was done")
            .because(error)
    })?;
    // Nothing is destroyed that the command would be refused for; but what was erased before is made sure of.
    let allowed = loaded.state.details.as_ref().ok_or(TenantError::NotFound);
    let allowed = allowed.and_then(|details| details.may_be_erased(now));
    match allowed {
        Ok(()) | Err(TenantError::AlreadyErased) => {}
        Err(refusal) => return Err(command::rejected(&refusal)),
    }
    let secrets = ends.erasure.destroy(tenant).await.map_err(|error| {
        problem::UNAVAILABLE
            .detail("not everything could be destroyed; send the command again")
            .because(error)
    })?;
    let target = Target::Existing(tenant.to_string());
    let command = TenantCommand::Erase { secrets, now };
    let executed = request.execute(handler, TenantId::PLATFORM, target, command);
    command::changed(&executed.await?)
}
