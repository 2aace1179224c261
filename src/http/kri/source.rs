//! Where the values of KRIs come from, and asking for a measurement.
//!
//! `…/runs` records that somebody wants a value and answers at once; a runner fetches it.

use counterfoil_events::command::{CommandContext, Extras, Target};
use counterfoil_events::ids::{KriRunId, KriSourceId, TenantId};
use counterfoil_events::kri::aggregates::KriId;
use counterfoil_events::kri::aggregates::indicator::KriError;
use counterfoil_events::kri::aggregates::run::KriRunCommand;
use counterfoil_events::kri::aggregates::source::KriSourceCommand;
use counterfoil_events::kri::source::SourceConfig;
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Kris, unreadable};
use crate::http::answer::{self, Answer};
use crate::http::auth::Principal;
use crate::http::body::{Json, OptionalJson};
use crate::http::command::{self, CommandAnswer};
use crate::http::moment::Moment;
use crate::http::organisation::Reason;
use crate::http::problem::{self, ApiError};
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::http::schema::Domain;
use crate::identity::{Decision, Permission, Place, decide_within};
use crate::kri::{ConnectorError, RunContext, check};

/// Why a test opens a credential, as it stands in the log.
const SOURCE_TEST: Code = Code::literal("kri_source_test");

/// Whole, as a body: of this name the API description makes a reference, of a generic type it does not.
type Source = Domain<SourceConfig>;

/// A new source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigureSource {
    /// The KRI that it measures.
    #[schema(value_type = String)]
    kri: KriId,
    /// `csv`, `http_json` or `ledger`, with what each kind needs.
    config: Source,
}

/// A measurement that is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestRun {
    /// As of when, to load history; now, if not given.
    measured_at: Option<Moment>,
}

/// What a source would measure now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct TestAnswer(serde_json::Value);

/// The routes of sources.
pub(super) fn routes(kris: &State<Kris>) -> Vec<Route> {
    let (source, tag) = ("/v1/tenants/{tenant}/kri-sources/{source}", "kris");
    vec![
        Route::post(
            "/v1/tenants/{tenant}/kri-sources",
            "Configure a source of a KRI's values",
        )
        .tag(tag)
        .permission(Permission::KrisWrite)
        .body_limit_bytes(2 * 1024 * 1024)
        .answers::<CommandAnswer>(201, "Configured")
        .handle(kris, configure),
        Route::put(source, "Let it measure like this from now on")
            .tag(tag)
            .permission(Permission::KrisWrite)
            .body_limit_bytes(2 * 1024 * 1024)
            .answers::<CommandAnswer>(200, "Changed")
            .handle(kris, change_source),
        Route::post(
            "/v1/tenants/{tenant}/kri-sources/{source}/disable",
            "Run it no more",
        )
        .tag(tag)
        .permission(Permission::KrisWrite)
        .takes_away()
        .answers::<CommandAnswer>(200, "Disabled")
        .handle(kris, disable),
        Route::post("/v1/tenants/{tenant}/kri-sources/{source}/enable", "Run it again")
            .tag(tag)
            .permission(Permission::KrisWrite)
            .answers::<CommandAnswer>(200, "Enabled")
            .handle(kris, enable),
        Route::post(
            "/v1/tenants/{tenant}/kri-sources/{source}/test",
            "Fetch once and say what would be measured",
        )
        .tag(tag)
        .permission(Permission::KriSourcesTest)
        .answers::<TestAnswer>(200, "What a run would record")
        .handle(kris, test),
        Route::post(
            "/v1/tenants/{tenant}/kri-sources/{source}/runs",
            "Ask for a measurement; a runner carries it out",
        )
        .tag(tag)
        .permission(Permission::KriRunsRequest)
        .answers::<CommandAnswer>(202, "Requested")
        .handle(kris, request_run),
    ]
}

async fn configure(kris: Kris, request: Request<Json<ConfigureSource>>) -> Answer {
    let tenant = request.tenant()?;
    let Json(ConfigureSource {
        kri,
        config: Domain(config),
    }) = &request.body;
    let loaded = kris
        .commands
        .kris
        .load_fresh(tenant, kri.as_str())
        .await
        .map_err(unreadable)?;
    if loaded.state.in_use().is_none() {
        let text = format!("there is no KRI {kri} in use: define it first");
        return Err(ApiError::refused("kri_not_found", text).field("/kri", "does not exist"));
    }
    let (config, extras) = checked(&kris, &request, "/config", config)?;
    let command = KriSourceCommand::Configure {
        kri: kri.clone(),
        config,
    };
    let target = Target::New(KriSourceId::generate().to_string());
    let context = request.context.command(tenant);
    let executed = kris
        .commands
        .kri_sources
        .execute(&context, target, command, extras)
        .await?;
    command::made(
        &executed,
        Some(&format!(
            "/v1/tenants/{tenant}/kri-sources/{}",
            executed.aggregate_id
        )),
    )
}

async fn change_source(kris: Kris, request: Request<Json<Source>>) -> Answer {
    let (config, extras) = checked(&kris, &request, "", &request.body.0.0)?;
    source_command(&kris, &request, KriSourceCommand::Change { config }, extras).await
}

/// Judges the configuration, which stands at `pointer` in the body, as a first run would, and moves a CSV text into a
/// document.
fn checked<B>(
    kris: &Kris,
    request: &Request<B>,
    pointer: &str,
    config: &SourceConfig,
) -> Result<(SourceConfig, Extras), ApiError> {
    check(&kris.fetch, config).map_err(|error| refused(&error).field(pointer, error.to_string()))?;
    if config.credential().is_some() {
        may_send_secrets(kris, request)?;
    }
    let SourceConfig::Csv(csv) = config else {
        return Ok((config.clone(), Extras::default()));
    };
    // What the log refers to is what came with the command: a caller could name a document that nobody holds.
    if config.document().is_some() {
        let how = "send the file itself as `text`: its document is made of it";
        return Err(
            ApiError::refused("kri_source_document_named", how).field(format!("{pointer}/document"), how)
        );
    }
    let (csv, document) = csv.clone().attach().map_err(|error| {
        ApiError::refused("kri_source_text_too_large", error.to_string())
            .field(format!("{pointer}/text"), error.to_string())
    })?;
    let extras = Extras {
        documents: document.into_iter().collect(),
        ..Extras::default()
    };
    Ok((SourceConfig::Csv(csv), extras))
}

/// Whoever says where a secret is sent could have it sent to himself: that takes the permission to write secrets, too.
fn may_send_secrets<B>(kris: &Kris, request: &Request<B>) -> Result<(), ApiError> {
    let permission = Permission::SecretsWrite;
    let allowed = match &request.context.principal {
        Principal::Bootstrap => true,
        Principal::User(user) => {
            let place = Place::of_path(request.params())?;
            let decision = decide_within(user.bounds(), &user.grants, permission, place, &kris.security);
            // A crossing is on record already, with its reason: the route's own permission took it.
            matches!(decision, Decision::Allowed | Decision::Crossing)
        }
        Principal::Agent(_) | Principal::Anonymous => false,
    };
    allowed.then_some(()).ok_or_else(|| {
        problem::FORBIDDEN
            .detail("to let a source use a secret takes the permission to write secrets as well")
            .with("permission", permission.as_str())
    })
}

fn refused(error: &ConnectorError) -> ApiError {
    ApiError::refused(error.code().as_str(), error.to_string())
}

async fn disable(kris: Kris, request: Request<Json<Reason>>) -> Answer {
    let reason = request.body.0.reason.clone();
    source_command(
        &kris,
        &request,
        KriSourceCommand::Disable { reason },
        Extras::default(),
    )
    .await
}

async fn enable(kris: Kris, request: Request) -> Answer {
    source_command(&kris, &request, KriSourceCommand::Enable, Extras::default()).await
}

async fn source_command<B>(
    kris: &Kris,
    request: &Request<B>,
    command: KriSourceCommand,
    extras: Extras,
) -> Answer {
    let id: KriSourceId = request.param("source")?;
    let context = request.context.command(request.tenant()?);
    let target = Target::Existing(id.to_string());
    command::changed(
        &kris
            .commands
            .kri_sources
            .execute(&context, target, command, extras)
            .await?,
    )
}

/// A source as it is configured now, with the KRI that it measures.
async fn source_of<B>(
    kris: &Kris,
    request: &Request<B>,
) -> Result<(TenantId, KriSourceId, KriId, SourceConfig), ApiError> {
    let (tenant, id): (TenantId, KriSourceId) = (request.tenant()?, request.param("source")?);
    let loaded = kris
        .commands
        .kri_sources
        .load_fresh(tenant, &id.to_string())
        .await
        .map_err(unreadable)?;
    let details = loaded
        .state
        .details
        .as_ref()
        .ok_or_else(|| ApiError::not_found("KRI source", id))?;
    if details.disabled {
        return Err(problem::CONFLICT
            .detail("the source is disabled: enable it first")
            .with("code", "kri_source_disabled"));
    }
    Ok((tenant, id, details.kri.clone(), details.config.config().clone()))
}

async fn test(kris: Kris, request: Request) -> Answer {
    let _place = kris.tests.take(request.tenant()?).map_err(|full| {
        problem::TOO_MANY_REQUESTS
            .detail(format!("of tests, {full}"))
            .with("code", "kri_tests_crowded")
    })?;
    let (tenant, _, _, config) = source_of(&kris, &request).await?;
    let reader = kris.commands.sequencer.reader();
    let config = match (config.document(), config) {
        (Some(reference), SourceConfig::Csv(csv)) => {
            let document = reader
                .document(tenant, reference.digest)
                .await
                .map_err(|error| unreadable(error.into()))?;
            let document = document.ok_or_else(|| {
                let text = "the source's document is missing: configure it anew with `text`";
                ApiError::refused("kri_source_document_missing", text)
            })?;
            SourceConfig::Csv(csv.with_text(document.body().to_owned()))
        }
        (_, config) => config,
    };
    let context = RunContext {
        tenant,
        at: Timestamp::now(),
    };
    // The opening is no part of what an Idempotency-Key repeats: each fetch is put on record.
    let who = CommandContext {
        idempotency: None,
        ..request.context.command(tenant)
    };
    let credential = kris.credentials.of(&config, &who, SOURCE_TEST).await;
    let credential = credential.map_err(|error| refused(&error.into()))?;
    let report = kris.connectors.test(&config, context, credential.as_ref()).await;
    let report = report.map_err(|error| refused(&error))?;
    answer::ok(&report)
}

async fn request_run(kris: Kris, request: Request<OptionalJson<RequestRun>>) -> Answer {
    let (tenant, source, kri, _) = source_of(&kris, &request).await?;
    let measured = kris.commands.kris.load(tenant, kri.as_str()).await;
    if measured.map_err(unreadable)?.state.in_use().is_none() {
        return Err(command::rejected(&KriError::Retired));
    }
    let reader = kris.commands.sequencer.reader();
    let now = reader.now().await.map_err(|error| unreadable(error.into()))?;
    let command = KriRunCommand::Request {
        kri,
        source,
        measured_at: request.body.0.measured_at.map(|moment| moment.0),
        now,
    };
    let target = Target::New(KriRunId::generate().to_string());
    let executed = request.execute(&kris.commands.kri_runs, tenant, target, command);
    command::begun(&executed.await?)
}
