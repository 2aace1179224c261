//! Crossings: a platform role enters a tenant, with a reason, and the log says so before anything is done there.
//!
//! The reason comes in the header `Counterfoil-Reason`, as a stable code. The crossing is an event of the user in the
//! platform's log. **No record, no entry**: when it cannot be appended, the request is refused.

use std::sync::Arc;

use counterfoil_events::actor::Actor;
use counterfoil_events::command::{CommandContext, Extras, Target};
use counterfoil_events::ids::{TenantId, UserId};
use counterfoil_events::text::Code;
use counterfoil_events::user::UserCommand;
use futures::FutureExt;
use futures::future::BoxFuture;
use warp::http::HeaderMap;

use super::permission::Permission;
use crate::commands::Commands;
use crate::http::context::RequestId;
use crate::http::problem::{self, ApiError};

/// Says why somebody crosses.
pub const REASON: &str = "counterfoil-reason";

/// Somebody of the platform enters a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// Who.
    pub user: UserId,
    /// The same as it stands in envelopes.
    pub actor: Actor,
    /// Where to.
    pub tenant: TenantId,
    /// To do what.
    pub permission: Permission,
    /// Why.
    pub reason: Code,
}

/// The reason that a request gives.
///
/// # Errors
/// 403 without one, since there is no entry without; 400 for one that is no code.
pub fn reason(headers: &HeaderMap) -> Result<Code, ApiError> {
    let value = headers.get(REASON).ok_or_else(|| {
        problem::FORBIDDEN
            .detail("a platform role enters a tenant only with a reason: send `Counterfoil-Reason: <code>`; it goes on record")
            .with("code", "reason_required")
    })?;
    let bad = |error: &dyn std::fmt::Display| {
        problem::MALFORMED_REQUEST
            .detail("the header Counterfoil-Reason cannot be read")
            .field("Counterfoil-Reason", error.to_string())
    };
    let text = value.to_str().map_err(|error| bad(&error))?;
    text.parse::<Code>().map_err(|error| bad(&error))
}

/// Puts crossings on record.
pub trait Record: Send + Sync + 'static {
    /// Returns once it is durable.
    fn record<'a>(
        &'a self,
        crossing: &'a Crossing,
        request: &'a RequestId,
    ) -> BoxFuture<'a, Result<(), ApiError>>;
}

/// In the platform's log.
pub struct OnRecord(pub Arc<Commands>);

impl Record for OnRecord {
    fn record<'a>(
        &'a self,
        crossing: &'a Crossing,
        request: &'a RequestId,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        async move {
            let Crossing {
                user,
                actor,
                tenant,
                permission,
                reason,
            } = crossing;
            let command = UserCommand::Enter {
                tenant: *tenant,
                permission: permission.code(),
                reason: reason.clone(),
            };
            let context = CommandContext {
                tenant: TenantId::PLATFORM,
                actor: actor.clone(),
                request_id: request.to_string(),
                traceparent: None,
                causation: None,
                idempotency: None,
            };
            let target = Target::Existing(user.to_string());
            self.0
                .users
                .execute(&context, target, command, Extras::default())
                .await?;
            Ok::<_, ApiError>(())
        }
        .boxed()
    }
}
