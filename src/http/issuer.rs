//! Issuers of the platform and of organisations: where their users sign in. Their commands stand in the platform's log.

use std::sync::Arc;

use counterfoil_events::command::Target;
use counterfoil_events::ids::{IssuerId, TenantId};
use counterfoil_events::issuer::{Audience, ClaimName, IssuerCommand, IssuerUrl};
use counterfoil_events::security::{IssuerEntry, SecurityState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer, Listing};
use super::body::{Json, NoBody};
use super::command::{self, CommandAnswer};
use super::organisation::Reason;
use super::problem::{self, ApiError};
use super::query::{Paging, Query, page};
use super::request::Request;
use super::route::{Route, State};
use crate::commands::Commands;
use crate::identity::{Permission, Place};
use crate::issuer::documents::Documents;

/// Most issuers of one place, suspended ones among them.
const ISSUERS_MAX: usize = 8;

/// What the group stands on.
#[derive(Clone)]
pub struct Issuers {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// The issuers there are.
    pub security: SecurityState,
    /// Says which URLs are fetched.
    pub documents: Documents,
}

/// Where users sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigureIssuer {
    /// Its name in its tokens (`iss`), and where its `/.well-known/openid-configuration` is.
    #[schema(value_type = String, example = "https://login.acme.example/realms/acme")]
    url: IssuerUrl,
    /// For whom its tokens must be (`aud`), such as the client id that it gave you.
    #[schema(value_type = String, example = "counterfoil")]
    audience: Audience,
    /// The claim that names the tenant to which a token is bound. Without it, or in a token that has none, the user's
    /// roles decide.
    #[schema(value_type = Option<String>, example = "counterfoil_tenant")]
    tenant_claim: Option<ClaimName>,
}

/// What can change of an issuer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeIssuer {
    /// The claim that names the tenant; null for none.
    #[schema(value_type = Option<String>)]
    tenant_claim: Option<ClaimName>,
}

/// An issuer.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuerItem {
    /// Its id.
    id: String,
    /// Its name in its tokens.
    url: String,
    /// For whom its tokens must be.
    audience: String,
    /// The claim that names the tenant.
    tenant_claim: Option<String>,
    /// Whether nobody signs in by it.
    suspended: bool,
}

/// A page of issuers.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuerPage {
    /// At most `limit`, in the order of ids.
    items: Vec<IssuerItem>,
    /// Hand this back as `cursor` for the next page; null on the last one.
    next: Option<String>,
}

/// All issuers of a place, one of them, and what is done with it.
struct Paths {
    all: &'static str,
    one: &'static str,
    suspend: &'static str,
    resume: &'static str,
}

const PLACES: [Paths; 2] = [
    Paths {
        all: "/v1/platform/issuers",
        one: "/v1/platform/issuers/{issuer}",
        suspend: "/v1/platform/issuers/{issuer}/suspend",
        resume: "/v1/platform/issuers/{issuer}/resume",
    },
    Paths {
        all: "/v1/organisations/{organisation}/issuers",
        one: "/v1/organisations/{organisation}/issuers/{issuer}",
        suspend: "/v1/organisations/{organisation}/issuers/{issuer}/suspend",
        resume: "/v1/organisations/{organisation}/issuers/{issuer}/resume",
    },
];

/// The group's routes.
pub fn routes(issuers: &State<Issuers>) -> Vec<Route> {
    PLACES.iter().flat_map(|paths| of_place(issuers, paths)).collect()
}

fn of_place(issuers: &State<Issuers>, paths: &Paths) -> [Route; 5] {
    let (tag, write) = ("issuers", Permission::IssuersWrite);
    [
        Route::get(paths.all, "Where users of this place sign in")
            .tag(tag)
            .permission(Permission::IssuersRead)
            .answers::<IssuerPage>(200, "A page, in the order of ids")
            .handle(issuers, list),
        Route::post(paths.all, "Let users sign in by an issuer")
            .tag(tag)
            .permission(write)
            .answers::<CommandAnswer>(201, "Configured")
            .handle(issuers, configure),
        Route::patch(paths.one, "Let another claim name the tenant")
            .tag(tag)
            .permission(write)
            .answers::<CommandAnswer>(200, "Changed")
            .handle(issuers, change_claim),
        Route::post(paths.suspend, "Let nobody sign in by it")
            .tag(tag)
            .permission(write)
            .takes_away()
            .answers::<CommandAnswer>(200, "Suspended")
            .handle(issuers, suspend),
        Route::post(paths.resume, "Let it go on")
            .tag(tag)
            .permission(write)
            .answers::<CommandAnswer>(200, "Resumed")
            .handle(issuers, resume),
    ]
}

async fn list(issuers: Issuers, request: Request<NoBody, Query<Paging>>) -> Answer {
    let place = Place::of_path(request.params())?.scope;
    if !issuers.security.freshness().may_answer() {
        return Err(problem::UNAVAILABLE.detail("which issuers there are cannot be said at the moment"));
    }
    let Query(paging) = &request.query;
    let (limit, last) = (paging.limit, paging.after::<IssuerId>()?);
    let of_place = issuers.security.issuers(|issuer| issuer.place == place);
    let after = |id: &IssuerId| last.is_none_or(|last| *id > last);
    let items = of_place.into_iter().filter(|(id, _)| after(id));
    let items = items
        .take(limit.get() + 1)
        .map(|(id, entry)| item(id, &entry))
        .collect();
    let Listing { items, next } = page(items, limit, |item: &IssuerItem| item.id.clone())?;
    answer::json(StatusCode::OK, &IssuerPage { items, next })
}

fn item(id: IssuerId, entry: &IssuerEntry) -> IssuerItem {
    IssuerItem {
        id: id.to_string(),
        url: entry.url.to_string(),
        audience: entry.audience.to_string(),
        tenant_claim: entry.tenant_claim.as_ref().map(ToString::to_string),
        suspended: entry.suspended,
    }
}

async fn configure(issuers: Issuers, request: Request<Json<ConfigureIssuer>>) -> Answer {
    let place = Place::of_path(request.params())?.scope;
    let Json(ConfigureIssuer {
        url,
        audience,
        tenant_claim,
    }) = &request.body;
    issuers.documents.admit(url.as_str()).map_err(|reason| {
        let text = reason.to_string();
        ApiError::refused("issuer_url_not_fetched", "the issuer's URL is not fetched").field("/url", text)
    })?;
    // Each is asked for its keys for good; and every token is held against all of them.
    let here = issuers.security.issuers(|issuer| issuer.place == place).len();
    if here >= ISSUERS_MAX {
        return Err(problem::CONFLICT
            .detail(format!(
                "there are {ISSUERS_MAX} issuers here, which is the most: change or resume one of them"
            ))
            .with("code", "issuer_too_many"));
    }
    super::user::exists(&issuers.commands, place).await?;
    let id = IssuerId::of(url, audience);
    let command = IssuerCommand::Configure {
        place,
        url: url.clone(),
        audience: audience.clone(),
        tenant_claim: tenant_claim.clone(),
    };
    let target = Target::Existing(id.to_string());
    let handler = &issuers.commands.issuers;
    let executed = request
        .execute(handler, TenantId::PLATFORM, target, command)
        .await?;
    command::heeded(&issuers.security, &executed).await;
    command::made(&executed, None)
}

async fn change_claim(issuers: Issuers, request: Request<Json<ChangeIssuer>>) -> Answer {
    let tenant_claim = request.body.0.tenant_claim.clone();
    change(&issuers, &request, IssuerCommand::Change { tenant_claim }).await
}

async fn suspend(issuers: Issuers, request: Request<Json<Reason>>) -> Answer {
    let reason = request.body.0.reason.clone();
    change(&issuers, &request, IssuerCommand::Suspend { reason }).await
}

async fn resume(issuers: Issuers, request: Request) -> Answer {
    change(&issuers, &request, IssuerCommand::Resume).await
}

async fn change<B>(issuers: &Issuers, request: &Request<B>, command: IssuerCommand) -> Answer {
    let (id, place): (IssuerId, _) = (request.param("issuer")?, Place::of_path(request.params())?.scope);
    let handler = &issuers.commands.issuers;
    let loaded = handler.load_fresh(TenantId::PLATFORM, &id.to_string()).await;
    let loaded = loaded.map_err(|error| {
        problem::UNAVAILABLE
            .detail("the issuer could not be read; nothing was done")
            .because(error)
    })?;
    let here = loaded
        .state
        .details
        .as_ref()
        .filter(|details| details.place == place);
    // An issuer of another place is 404 under this path, so that paths do not reveal it.
    here.ok_or_else(|| ApiError::not_found("issuer", id))?;
    let target = Target::Existing(id.to_string());
    let executed = request
        .execute(handler, TenantId::PLATFORM, target, command)
        .await?;
    command::heeded(&issuers.security, &executed).await;
    command::changed(&executed)
}
