//! The break-glass switch of the proof of origin: suspends it for a while, and restores it, by commands on the log.
//!
//! The commands themselves ask for the proof, as every request does: whoever operates the origin has its secret, and
//! `counterfoil origin suspend` proves itself by it. So the switch is no way around the edge for anybody else.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::command::Target;
use counterfoil_events::ids::TenantId;
use counterfoil_events::origin::{AGGREGATE_ID, OriginCommand};
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::commands::Commands;
use crate::http::answer::Answer;
use crate::http::body::Json;
use crate::http::command::{self, CommandAnswer};
use crate::http::organisation::Reason;
use crate::http::problem::{self, ApiError};
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::identity::Permission;

/// For how long, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendProof {
    /// For so many seconds from now, 1 to 3600.
    #[schema(example = 900)]
    for_s: u32,
    /// Why, as a stable code; it stands in the log.
    #[schema(value_type = String, example = "edge_down")]
    reason: Code,
}

/// The group's routes.
pub fn routes(commands: &State<Arc<Commands>>) -> Vec<Route> {
    let tag = "platform";
    vec![
        Route::post(
            "/v1/platform/origin/suspend",
            "Answer requests without proof of origin for a while",
        )
        .tag(tag)
        .permission(Permission::OriginSuspend)
        .answers::<CommandAnswer>(
            200,
            "Suspended, here at once and in other processes within a second",
        )
        .handle(commands, suspend),
        Route::post("/v1/platform/origin/restore", "Ask for proof of origin again")
            .tag(tag)
            .permission(Permission::OriginSuspend)
            .answers::<CommandAnswer>(200, "Restored")
            .handle(commands, restore),
    ]
}

async fn suspend(commands: Arc<Commands>, request: Request<Json<SuspendProof>>) -> Answer {
    let Json(SuspendProof { for_s, reason }) = &request.body;
    let command = OriginCommand::Open {
        length: Duration::from_secs(u64::from(*for_s)),
        reason: reason.clone(),
        now: now(&commands).await?,
    };
    change(&commands, &request, command).await
}

/// By the clock of the log: one that runs ahead here would leave it open everywhere for longer.
async fn now(commands: &Commands) -> Result<Timestamp, ApiError> {
    commands.sequencer.reader().now().await.map_err(|error| {
        problem::UNAVAILABLE
            .detail("the time cannot be had from the log; nothing was done")
            .because(error)
    })
}

async fn restore(commands: Arc<Commands>, request: Request<Json<Reason>>) -> Answer {
    let command = OriginCommand::Close {
        reason: request.body.0.reason.clone(),
        now: now(&commands).await?,
    };
    change(&commands, &request, command).await
}

async fn change<B>(commands: &Commands, request: &Request<B>, command: OriginCommand) -> Answer {
    let target = Target::Existing(AGGREGATE_ID.to_owned());
    let executed = request.execute(&commands.origin, TenantId::PLATFORM, target, command);
    command::changed(&executed.await?)
}
