//! Credentials of a tenant's programs that follow its log over NATS by themselves.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::agent::key::{IssuedKey, KeyPepper, SUBSCRIBER_MARK};
use counterfoil_events::backbone::{Backbone, HeadsReader};
use counterfoil_events::command::{Executed, Target};
use counterfoil_events::ids::{ApiKeyId, TenantId};
use counterfoil_events::subscriber::{AGGREGATE_ID, SubscriberCommand};
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer};
use super::body::Json;
use super::command::{self, CommandAnswer};
use super::organisation::Reason;
use super::problem::{self, ApiError};
use super::request::Request;
use super::route::{Route, State};
use crate::commands::Commands;
use crate::identity::Permission;
use crate::subscriber::{API_PREFIX, Grant};

/// What the group stands on.
#[derive(Clone)]
pub struct SubscriberRoutes {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// Under which credentials are hashed.
    pub pepper: Arc<KeyPepper>,
    /// The streams.
    pub backbone: Backbone,
    /// Which stream a tenant's events are in.
    pub heads: HeadsReader,
    /// Whether the NATS server asks this installation about logins.
    pub answers_logins: bool,
}

/// For how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueSubscriber {
    /// For so many seconds from now, 1 to 43200 (12 hours).
    #[schema(example = 3600)]
    for_s: u32,
}

/// A credential for NATS, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriberIssued {
    /// Its name, for revoking it.
    credential_id: String,
    /// When it stops working.
    #[schema(value_type = String)]
    expires_at: Timestamp,
    /// The user to log in as.
    user: String,
    /// The password. Keep it now: only its hash is kept here.
    password: String,
    /// The stream that the tenant's events are in.
    stream: String,
    /// The consumer to fetch from; it is there once the credential has logged in, and delivers this tenant's events alone.
    consumer: String,
    /// How JetStream's subjects begin for it, in place of `$JS.API`.
    api_prefix: &'static str,
    /// How the client's inbox must begin.
    inbox_prefix: String,
    #[serde(flatten)]
    issued: CommandAnswer,
}

/// The group's routes.
pub fn routes(subscribers: &State<SubscriberRoutes>) -> Vec<Route> {
    let tag = "subscribers";
    vec![
        Route::post(
            "/v1/tenants/{tenant}/subscribers",
            "Issue a credential to follow this tenant's log over NATS; it is shown once",
        )
        .tag(tag)
        .permission(Permission::SubscribersWrite)
        .answers::<SubscriberIssued>(201, "Issued")
        .handle(subscribers, issue),
        Route::post(
            "/v1/tenants/{tenant}/subscribers/{subscriber}/revoke",
            "Let a credential stop working: it fetches nothing more at once, and is out within five minutes",
        )
        .tag(tag)
        .permission(Permission::SubscribersWrite)
        .takes_away()
        .answers::<CommandAnswer>(200, "Revoked")
        .handle(subscribers, revoke),
    ]
}

async fn issue(routes: SubscriberRoutes, request: Request<Json<IssueSubscriber>>) -> Answer {
    if !routes.answers_logins {
        return Err(problem::UNAVAILABLE.detail(
            "subscribers cannot log in here: nats.callout_key is not configured; ask whoever operates this",
        ));
    }
    let tenant = request.tenant()?;
    let key = IssuedKey::generate_marked(SUBSCRIBER_MARK, &routes.pepper);
    let grant = routes.grant(tenant, key.id)?;
    let life = Duration::from_secs(u64::from(request.body.0.for_s));
    let now = routes.commands.sequencer.reader().now().await.map_err(|error| {
        problem::UNAVAILABLE
            .detail("the time cannot be had from the log; nothing was done")
            .because(error)
    })?;
    let command = SubscriberCommand::Issue {
        credential_id: key.id,
        hash: key.hash,
        life,
        now,
    };
    let executed = routes.execute(&request, command).await?;
    if executed.replayed {
        return Err(problem::CONFLICT.detail(
            "this Idempotency-Key issued a credential before; it is shown once only: issue another",
        ));
    }
    let at_its_end = || ApiError::internal("the clock stands at the end of time");
    let body = SubscriberIssued {
        credential_id: key.id.to_string(),
        expires_at: now.checked_add(life).ok_or_else(at_its_end)?,
        user: format!("{}.{}", routes.backbone.prefix(), key.id),
        password: key.expose_text().to_owned(),
        stream: grant.stream,
        consumer: grant.consumer,
        api_prefix: API_PREFIX,
        inbox_prefix: grant.inbox,
        issued: command::command_answer(&executed),
    };
    let mut response = answer::json(StatusCode::CREATED, &body)?;
    command::put_positions(&mut response, &executed);
    Ok(response)
}

async fn revoke(routes: SubscriberRoutes, request: Request<Json<Reason>>) -> Answer {
    let tenant = request.tenant()?;
    let credential_id: ApiKeyId = request.param("subscriber")?;
    let reason = request.body.0.reason.clone();
    let command = SubscriberCommand::Revoke {
        credential_id,
        reason,
    };
    let executed = routes.execute(&request, command).await?;
    // With its consumer gone it fetches nothing more, though its login holds for some minutes.
    let grant = routes.grant(tenant, credential_id)?;
    let context = routes.backbone.context();
    let deleted = context
        .delete_consumer_from_stream(&grant.consumer, &grant.stream)
        .await;
    if let Err(error) = deleted {
        tracing::info!(%error, "the consumer of a revoked subscriber could not be deleted, or was never made");
    }
    command::changed(&executed)
}

impl SubscriberRoutes {
    fn grant(&self, tenant: TenantId, credential: ApiKeyId) -> Result<Grant, ApiError> {
        let partition = self
            .heads
            .partition_of(tenant)
            .ok_or_else(|| problem::UNAVAILABLE.detail("the tenant's stream is not known yet: try again"))?;
        Ok(Grant::new(self.backbone.prefix(), partition, tenant, credential))
    }

    async fn execute<B>(
        &self,
        request: &Request<B>,
        command: SubscriberCommand,
    ) -> Result<Executed, ApiError> {
        let target = Target::Existing(AGGREGATE_ID.to_owned());
        let handler = &self.commands.subscribers;
        request.execute(handler, request.tenant()?, target, command).await
    }
}
