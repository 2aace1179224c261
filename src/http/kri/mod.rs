//! Key risk indicators: what is measured (here), and where values come from (`source`).

mod source;

use std::sync::Arc;

use counterfoil_events::command::{LoadError, Target};
use counterfoil_events::fair_places::FairPlaces;
use counterfoil_events::kri::aggregates::KriId;
use counterfoil_events::kri::aggregates::indicator::{KriCommand, KriDefinition};
use counterfoil_events::security::SecurityState;
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::body::Json;
use super::command::{self, CommandAnswer};
use super::organisation::Reason;
use super::problem::{self, ApiError};
use super::request::Request;
use super::route::{Route, State};
use super::schema::Domain;
use crate::commands::Commands;
use crate::identity::Permission;
use crate::kri::Connectors;
use crate::kri::config::FetchConfig;
use crate::kri::credential::Credentials;
use crate::kri::platform::PlatformFigures;

/// What the group stands on.
#[derive(Clone)]
pub struct Kris {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// To test a source.
    pub connectors: Arc<Connectors<PlatformFigures>>,
    /// Which addresses a source may have.
    pub fetch: FetchConfig,
    /// Open the credentials that sources name.
    pub credentials: Credentials,
    /// Who may let a source use a secret.
    pub security: SecurityState,
    /// Tests that are under way.
    pub tests: FairPlaces,
}

/// Tests that this process carries out at one time, and of one tenant: each may last as long as a fetch may.
pub const TESTS_MAX: (usize, usize) = (16, 4);

/// Whole, as a body: of this name the API description makes a reference, of a generic type it does not.
type Definition = Domain<KriDefinition>;

/// A new KRI.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefineKri {
    /// Its name in paths and rollups: the same in every tenant that measures the same thing.
    #[schema(value_type = String, example = "failed_settlement_rate")]
    id: KriId,
    /// Name, unit, bands and schedule; see docs/kris.md.
    definition: Definition,
}

/// The group's routes.
pub fn routes(kris: &State<Kris>) -> Vec<Route> {
    let kri = "/v1/tenants/{tenant}/kris/{kri}";
    let tag = "kris";
    let mut routes = vec![
        Route::post("/v1/tenants/{tenant}/kris", "Define a KRI")
            .tag(tag)
            .permission(Permission::KrisWrite)
            .answers::<CommandAnswer>(201, "Defined")
            .handle(kris, define),
        Route::put(kri, "Let it be this from now on")
            .tag(tag)
            .permission(Permission::KrisWrite)
            .answers::<CommandAnswer>(200, "Changed")
            .handle(kris, change_kri),
        Route::post("/v1/tenants/{tenant}/kris/{kri}/retire", "Measure it no more")
            .tag(tag)
            .permission(Permission::KrisWrite)
            .takes_away()
            .answers::<CommandAnswer>(200, "Retired")
            .handle(kris, retire),
    ];
    routes.extend(source::routes(kris));
    routes
}

async fn define(kris: Kris, request: Request<Json<DefineKri>>) -> Answer {
    let tenant = request.tenant()?;
    let Json(DefineKri {
        id,
        definition: Domain(definition),
    }) = &request.body;
    let target = Target::Existing(id.to_string());
    let command = KriCommand::Define(definition.clone());
    let executed = request
        .execute(&kris.commands.kris, tenant, target, command)
        .await?;
    command::made(
        &executed,
        Some(&format!("/v1/tenants/{tenant}/kris/{}", executed.aggregate_id)),
    )
}

async fn change_kri(kris: Kris, request: Request<Json<Definition>>) -> Answer {
    let definition = request.body.0.0.clone();
    kri_command(&kris, &request, KriCommand::Change(definition)).await
}

async fn retire(kris: Kris, request: Request<Json<Reason>>) -> Answer {
    let reason = request.body.0.reason.clone();
    kri_command(&kris, &request, KriCommand::Retire { reason }).await
}

async fn kri_command<B>(kris: &Kris, request: &Request<B>, command: KriCommand) -> Answer {
    let id: KriId = request.param("kri")?;
    let target = Target::Existing(id.to_string());
    let executed = request.execute(&kris.commands.kris, request.tenant()?, target, command);
    command::changed(&executed.await?)
}

fn unreadable(error: LoadError) -> ApiError {
    problem::UNAVAILABLE
        .detail("the log could not be read; nothing was done")
        .because(error)
}
