//! The administrator who takes the place of the bootstrap token.

use std::sync::Arc;

use counterfoil_events::ids::{TenantId, UserId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::body::Json;
use super::command::{self, CommandAnswer};
use super::problem::{self, ApiError};
use super::request::Request;
use super::route::{Route, State};
use crate::administration::{AdministrationFailed, close_bootstrap};
use crate::commands::Commands;
use crate::identity::Permission;

/// Who administers from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Administrator {
    /// A person who signs in at an issuer of the platform. It becomes `platform_admin` if it is not.
    #[schema(value_type = String)]
    user: UserId,
}

/// The group's routes.
pub fn routes(commands: &State<Arc<Commands>>) -> Vec<Route> {
    vec![
        Route::post(
            "/v1/platform/administrators",
            "Let a user administer instead of the bootstrap token, which is refused from then on",
        )
        .tag("members")
        .permission(Permission::MembersWrite)
        .answers::<CommandAnswer>(200, "Closed")
        .handle(commands, close),
    ]
}

async fn close(commands: Arc<Commands>, request: Request<Json<Administrator>>) -> Answer {
    let context = request.context.command(TenantId::PLATFORM);
    let user = request.body.0.user;
    command::changed(&close_bootstrap(&commands, &context, user).await?)
}

impl From<AdministrationFailed> for ApiError {
    fn from(error: AdministrationFailed) -> Self {
        match error {
            AdministrationFailed::User(error) => error.into(),
            AdministrationFailed::Administration(error) => error.into(),
            AdministrationFailed::Load(error) => problem::UNAVAILABLE
                .detail("who administers could not be read; nothing was done")
                .because(error),
            AdministrationFailed::SignsInNowhere => problem::CONFLICT
                .detail(error.to_string())
                .with("code", "user_signs_in_nowhere"),
            AdministrationFailed::Moved => problem::CONFLICT.detail(error.to_string()),
            AdministrationFailed::Role(error) => ApiError::internal(error),
        }
    }
}
