//! Secrets of a tenant, or (under the platform's own tenant id) of the platform: stored, rotated, retired; never shown.
//!
//! A value is sealed before anything is recorded, and the event names its ciphertext. An Idempotency-Key is not heeded
//! where a value is given: it would keep a fingerprint of the value. Storing twice is refused, and rotating twice to one
//! value does no harm.

use std::sync::Arc;

use counterfoil_events::command::{CommandContext, CommandError, Executed, Extras, Target};
use counterfoil_events::ids::{ContentDigest, OrganisationId};
use counterfoil_events::secret::{SecretCommand, SecretDetails, SecretError, SecretName, SecretPurpose};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::{HeaderValue, StatusCode};

use super::answer::{self, Answer, Listing};
use super::body::{Json, NoBody};
use super::command::{self, CommandAnswer};
use super::organisation::Reason;
use super::problem::{self, ApiError};
use super::query::{Paging, Query, page};
use super::request::Request;
use super::route::{Route, State};
use crate::commands::Commands;
use crate::identity::Permission;
use crate::vault::sealing::{VALUE_BYTES_MAX, VersionOf};
use crate::vault::{KmsError, Plaintext, SecretUnusable, Secrets, VaultError};

/// What the group stands on.
#[derive(Clone)]
pub struct SecretRoutes {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// What seals.
    pub secrets: Arc<Secrets>,
}

/// A new secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreSecret {
    /// Its name, by which configuration and sources refer to it.
    #[schema(value_type = String, example = "openai")]
    name: SecretName,
    /// `provider_key` or `source_credential`; it cannot be used for anything else.
    #[schema(value_type = String, example = "provider_key")]
    purpose: SecretPurpose,
    /// What it says: 1 byte to 64 KiB of what an HTTP header may hold. It is never shown again.
    #[schema(value_type = String)]
    value: SecretString,
}

/// Another value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// What it says from now on.
    #[schema(value_type = String)]
    value: SecretString,
}

/// A secret in use.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretEntry {
    /// Its name.
    #[schema(value_type = String)]
    id: SecretName,
    /// What it is for.
    #[schema(value_type = String)]
    purpose: SecretPurpose,
    /// Its newest version, from 1.
    version: u32,
    /// The organisation whose key seals it.
    #[schema(value_type = String)]
    organisation: OrganisationId,
}

/// A page of secrets.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretEntries {
    /// At most `limit`, in the order of names.
    items: Vec<SecretEntry>,
    /// Hand this back as `cursor` for the next page; null on the last one.
    next: Option<String>,
}

/// The group's routes.
pub fn routes(secrets: &State<SecretRoutes>) -> Vec<Route> {
    let tag = "secrets";
    vec![
        Route::get(
            "/v1/tenants/{tenant}/secrets",
            "Which secrets are in use; never what they say",
        )
        .tag(tag)
        .permission(Permission::SecretsRead)
        .answers::<SecretEntries>(200, "A page, in the order of names")
        .handle(secrets, list),
        Route::post("/v1/tenants/{tenant}/secrets", "Store a secret")
            .tag(tag)
            .permission(Permission::SecretsWrite)
            .answers::<CommandAnswer>(201, "Stored")
            .handle(secrets, store),
        Route::put(
            "/v1/tenants/{tenant}/secrets/{secret}",
            "Let it be another value from now on",
        )
        .tag(tag)
        .permission(Permission::SecretsWrite)
        .answers::<CommandAnswer>(200, "Rotated")
        .handle(secrets, rotate),
        Route::post(
            "/v1/tenants/{tenant}/secrets/{secret}/retire",
            "Delete every version of it, for good",
        )
        .tag(tag)
        .permission(Permission::SecretsWrite)
        .takes_away()
        .answers::<CommandAnswer>(200, "Retired")
        .handle(secrets, retire),
    ]
}

async fn list(routes: SecretRoutes, request: Request<NoBody, Query<Paging>>) -> Answer {
    let tenant = request.tenant()?;
    let Query(paging) = &request.query;
    let (limit, after) = (paging.limit, paging.after()?);
    let found = routes.secrets.list(tenant, after.as_ref(), limit.get() + 1);
    let entry = |(id, details): (SecretName, SecretDetails)| SecretEntry {
        id,
        purpose: details.purpose,
        version: details.version,
        organisation: details.organisation,
    };
    let entries = found.await?.into_iter().map(entry).collect();
    let Listing { items, next } = page(entries, limit, |entry: &SecretEntry| entry.id.clone())?;
    answer::json(StatusCode::OK, &SecretEntries { items, next })
}

async fn store(routes: SecretRoutes, request: Request<Json<StoreSecret>>) -> Answer {
    let tenant = request.tenant()?;
    let Json(StoreSecret { name, purpose, value }) = &request.body;
    let value = checked(value)?;
    let loaded = routes.commands.secrets.load_fresh(tenant, name.as_str()).await;
    if loaded.map_err(SecretUnusable::from)?.state.details.is_some() {
        return Err(command::rejected(&SecretError::AlreadyExists));
    }
    let of = VersionOf {
        owner: routes.secrets.owner(tenant).await?,
        tenant,
        secret: name.clone(),
        version: 1,
        purpose: *purpose,
    };
    let sealed = routes.secrets.vault().seal(&of, &value).await;
    let sealed = sealed.map_err(SecretUnusable::from)?;
    let store = SecretCommand::Store {
        purpose: *purpose,
        organisation: of.owner.organisation,
        sealed,
    };
    let context = without_fingerprint(request.context.command(tenant));
    let executed = record(&routes, &context, (&of, sealed), store).await?;
    command::made(&executed, None)
}

async fn rotate(routes: SecretRoutes, request: Request<Json<RotateSecret>>) -> Answer {
    let (tenant, name): (_, SecretName) = (request.tenant()?, request.param("secret")?);
    let value = checked(&request.body.0.value)?;
    let now = routes.secrets.newest(tenant, &name).await?;
    let of = VersionOf {
        owner: routes.secrets.owner(tenant).await?,
        tenant,
        secret: name.clone(),
        version: now.version.saturating_add(1),
        purpose: now.purpose,
    };
    let sealed = routes.secrets.vault().seal(&of, &value).await;
    let sealed = sealed.map_err(SecretUnusable::from)?;
    let rotate = SecretCommand::Rotate {
        version: of.version,
        sealed,
    };
    let context = without_fingerprint(request.context.command(tenant));
    command::changed(&record(&routes, &context, (&of, sealed), rotate).await?)
}

async fn retire(routes: SecretRoutes, request: Request<Json<Reason>>) -> Answer {
    let (tenant, name): (_, SecretName) = (request.tenant()?, request.param("secret")?);
    let retire = SecretCommand::Retire {
        reason: request.body.0.reason.clone(),
    };
    let context = request.context.command(tenant);
    let retired = execute(&routes, &context, &name, retire).await;
    // Also for one that was retired before: that may have been cut off here.
    if matches!(retired, Ok(_) | Err(CommandError::Rejected(SecretError::Retired))) {
        let deleted = routes.secrets.vault().delete(tenant, &name).await;
        deleted.map_err(SecretUnusable::from)?;
    }
    command::changed(&retired?)
}

/// Records a version that is sealed already. One that the log refuses, because the secret was retired or rotated meanwhile,
/// is nobody's, and goes.
async fn record(
    routes: &SecretRoutes,
    context: &CommandContext,
    (of, sealed): (&VersionOf, ContentDigest),
    command: SecretCommand,
) -> Result<Executed, ApiError> {
    let executed = execute(routes, context, &of.secret, command).await;
    if matches!(executed, Err(CommandError::Rejected(_))) {
        let discarded = routes.secrets.vault().discard(of, sealed).await;
        discarded.map_err(SecretUnusable::from)?;
    }
    Ok(executed?)
}

async fn execute(
    routes: &SecretRoutes,
    context: &CommandContext,
    name: &SecretName,
    command: SecretCommand,
) -> Result<Executed, CommandError<SecretError>> {
    let (handler, target) = (&routes.commands.secrets, Target::Existing(name.to_string()));
    let executed = handler.execute(context, target, command, Extras::default()).await;
    routes.secrets.changed(context.tenant, name);
    executed
}

/// What can be sent as a header, since that is what secrets are for.
fn checked(value: &SecretString) -> Result<Plaintext, ApiError> {
    let value = value.expose_secret();
    let fits = (1..=VALUE_BYTES_MAX).contains(&value.len());
    if !fits || HeaderValue::from_str(value).is_err() {
        let rule = format!(
            "must be 1 to {VALUE_BYTES_MAX} bytes of what an HTTP header may hold; check for line breaks"
        );
        return Err(
            ApiError::refused("secret_value_unusable", "the value cannot be used").field("/value", rule),
        );
    }
    Ok(Plaintext::new(value.as_bytes().to_vec()))
}

fn without_fingerprint(context: CommandContext) -> CommandContext {
    CommandContext {
        idempotency: None,
        ..context
    }
}

impl From<SecretUnusable> for ApiError {
    fn from(error: SecretUnusable) -> Self {
        let text = error.to_string();
        match error {
            SecretUnusable::NotFound(_) => command::rejected(&SecretError::NotFound),
            SecretUnusable::OtherPurpose(_) => ApiError::refused("secret_of_other_purpose", text),
            SecretUnusable::NoTenant(_) => problem::NOT_FOUND.detail("there is no such tenant"),
            SecretUnusable::Log(_)
            | SecretUnusable::Unrecorded(_)
            | SecretUnusable::Vault(VaultError::Postgres(_)) => problem::UNAVAILABLE
                .detail("the secret could not be read; nothing was done")
                .because(text),
            SecretUnusable::Vault(VaultError::Kms(KmsError::Unavailable(_))) => problem::UNAVAILABLE
                .detail("the KMS is away, so the vault is shut; nothing was done")
                .because(text),
            SecretUnusable::Vault(_) => ApiError::internal(text),
        }
    }
}
