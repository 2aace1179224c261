//! Users and services, their tokens, and the roles that they have somewhere. All of it stands in the platform's log.
//!
//! A token of a person who signs in at an issuer is given to that person alone; where a person signs in is in `subject.rs`.
//! Who administers the platform is kept by `crate::administration`.
//!
//! A role is granted at the place that the path names, by whoever may write members there. That the place exists is
//! looked up in the log, and not in this process's memory, which may be a moment behind.

use std::sync::Arc;

use counterfoil_events::agent::key::{IssuedKey, KeyPepper, TOKEN_MARK};
use counterfoil_events::command::Target;
use counterfoil_events::ids::{ApiKeyId, OrganisationId, TenantId, UserId};
use counterfoil_events::membership::{Grant, Role, Scope};
use counterfoil_events::security::SecurityState;
use counterfoil_events::user::{UserCommand, UserKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer, Listing};
use super::auth::Principal;
use super::body::{Json, NoBody};
use super::command::{self, CommandAnswer};
use super::organisation::Reason;
use super::problem::{self, ApiError};
use super::query::{Paging, Query, page};
use super::request::Request;
use super::route::{Route, State};
use crate::administration::change_user;
use crate::commands::Commands;
use crate::identity::{Permission, Place};
use crate::issuer::subjects::Subjects;

/// What the group stands on.
#[derive(Clone)]
pub struct Users {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// Under which tokens are hashed.
    pub pepper: Arc<KeyPepper>,
    /// Who has which role.
    pub security: SecurityState,
    /// Who signs in as whom.
    pub subjects: Subjects,
}

/// A new user. Who it is stands nowhere here: keep its id beside it where you know people.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolUser {
    /// `person` or `service`.
    #[schema(value_type = String, example = "person")]
    kind: UserKind,
}

/// A new token, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenIssued {
    /// Its name, for revoking it.
    token_id: String,
    /// The token itself. Keep it now: only its hash is kept here.
    token: String,
    #[serde(flatten)]
    issued: CommandAnswer,
}

/// Who has which roles at a place.
#[derive(Debug, Serialize, ToSchema)]
pub struct Member {
    /// The user.
    id: String,
    /// Its roles at just this place.
    roles: Vec<String>,
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
pub struct Members {
    /// At most `limit`, in the order of ids.
    items: Vec<Member>,
    /// Hand this back as `cursor` for the next page; null on the last one.
    next: Option<String>,
}

/// Most roles of a user in one organisation and its tenants, of [`MAX_GRANTS`](counterfoil_events::user::MAX_GRANTS) in all.
const GRANTS_OF_ORGANISATION_MAX: usize = 32;

/// Where members are, and where one of them has a role.
const PLACES: [(&str, &str); 3] = [
    ("/v1/platform/members", "/v1/platform/members/{user}/roles/{role}"),
    (
        "/v1/organisations/{organisation}/members",
        "/v1/organisations/{organisation}/members/{user}/roles/{role}",
    ),
    (
        "/v1/tenants/{tenant}/members",
        "/v1/tenants/{tenant}/members/{user}/roles/{role}",
    ),
];

/// The group's routes.
pub fn routes(users: &State<Users>) -> Vec<Route> {
    let members = PLACES.into_iter().flat_map(|(all, one)| members(users, all, one));
    themselves(users).into_iter().chain(members).collect()
}

fn themselves(users: &State<Users>) -> Vec<Route> {
    let tag = "users";
    let write = Permission::UsersWrite;
    vec![
        Route::post("/v1/users", "Enrol a user, who may do nothing yet")
            .tag(tag)
            .permission(write)
            .answers::<CommandAnswer>(201, "Enrolled")
            .handle(users, enrol),
        Route::post("/v1/users/{user}/suspend", "Deny it everything")
            .tag(tag)
            .permission(write)
            .answers::<CommandAnswer>(200, "Suspended")
            .handle(users, suspend),
        Route::post("/v1/users/{user}/resume", "Let it go on")
            .tag(tag)
            .permission(write)
            .answers::<CommandAnswer>(200, "Resumed")
            .handle(users, resume),
        Route::post(
            "/v1/users/{user}/tokens",
            "Issue a token of one hour; it is shown once",
        )
        .tag(tag)
        .permission(write)
        .answers::<TokenIssued>(201, "Issued")
        .handle(users, issue_token),
        Route::post(
            "/v1/users/{user}/tokens/{token}/revoke",
            "Let a token stop working at once",
        )
        .tag(tag)
        .permission(write)
        .answers::<CommandAnswer>(200, "Revoked")
        .handle(users, revoke_token),
    ]
}

fn members(users: &State<Users>, all: &'static str, one: &'static str) -> [Route; 3] {
    let tag = "members";
    [
        Route::get(all, "Who has which roles at just this place")
            .tag(tag)
            .permission(Permission::MembersRead)
            .answers::<Members>(200, "A page, in the order of ids")
            .handle(users, list),
        Route::put(one, "Give a user a role here")
            .tag(tag)
            .permission(Permission::MembersWrite)
            .answers::<CommandAnswer>(200, "Granted")
            .handle(users, grant),
        Route::delete(one, "Take a role here away")
            .tag(tag)
            .permission(Permission::MembersWrite)
            .takes_away()
            .answers::<CommandAnswer>(200, "Revoked")
            .handle(users, revoke),
    ]
}

async fn enrol(users: Users, request: Request<Json<EnrolUser>>) -> Answer {
    let target = Target::New(UserId::generate().to_string());
    let command = UserCommand::Enrol {
        kind: request.body.0.kind,
    };
    let handler = &users.commands.users;
    let executed = request
        .execute(handler, TenantId::PLATFORM, target, command)
        .await?;
    command::made(&executed, None)
}

async fn suspend(users: Users, request: Request<Json<Reason>>) -> Answer {
    let reason = request.body.0.reason.clone();
    administer(&users, &request, UserCommand::Suspend { reason }).await
}

async fn resume(users: Users, request: Request) -> Answer {
    administer(&users, &request, UserCommand::Resume).await
}

async fn issue_token(users: Users, request: Request) -> Answer {
    let user: UserId = request.param("user")?;
    let token = IssuedKey::generate_marked(TOKEN_MARK, &users.pepper);
    let command = UserCommand::IssueToken {
        token_id: token.id,
        hash: token.hash,
        // By the clock that it expires by.
        now: users.security.postgres_time().now(),
    };
    let target = Target::Existing(user.to_string());
    let handler = &users.commands.users;
    let executed = request
        .execute(handler, TenantId::PLATFORM, target, command)
        .await?;
    if executed.replayed {
        return Err(problem::CONFLICT.detail(
            "this Idempotency-Key issued a token before; a token is shown once only: issue another",
        ));
    }
    command::heeded(&users.security, &executed).await;
    let body = TokenIssued {
        token_id: token.id.to_string(),
        token: token.expose_text().to_owned(),
        issued: command::command_answer(&executed),
    };
    let mut response = answer::json(StatusCode::CREATED, &body)?;
    command::put_positions(&mut response, &executed);
    Ok(response)
}

async fn revoke_token(users: Users, request: Request<Json<Reason>>) -> Answer {
    let token_id: ApiKeyId = request.param("token")?;
    let reason = request.body.0.reason.clone();
    change(&users, &request, UserCommand::RevokeToken { token_id, reason }).await
}

async fn list(users: Users, request: Request<NoBody, Query<Paging>>) -> Answer {
    let scope = scope_of(&request)?;
    if !users.security.freshness().may_answer() {
        return Err(problem::UNAVAILABLE.detail("who is a member cannot be said at the moment"));
    }
    let Query(paging) = &request.query;
    let (limit, after) = (paging.limit, paging.after()?);
    let members: Vec<_> = users
        .security
        .members(scope, after)
        .into_iter()
        .take(limit.get() + 1)
        .collect();
    let members = members.into_iter().map(member).collect();
    let Listing { items, next } = page(members, limit, |member: &Member| member.id.clone())?;
    answer::json(StatusCode::OK, &Members { items, next })
}

fn member((user, roles): (UserId, Vec<Role>)) -> Member {
    Member {
        id: user.to_string(),
        roles: roles.into_iter().map(|role| role.as_str().to_owned()).collect(),
    }
}

async fn grant(users: Users, request: Request) -> Answer {
    let grant = grant_of(&request)?;
    refuse_to_oneself(&request)?;
    exists(&users.commands, grant.scope()).await?;
    leave_room(&users, &request, grant)?;
    administer(&users, &request, UserCommand::Grant(grant)).await
}

/// A user's roles are bounded: one organisation does not take all the room from others, or from the platform. As this
/// process knows it, a moment late at the most.
fn leave_room(users: &Users, request: &Request, grant: Grant) -> Result<(), ApiError> {
    let user: UserId = request.param("user")?;
    let owner = |scope: Scope| match scope {
        Scope::Platform => None,
        Scope::Organisation(organisation) => Some(organisation),
        Scope::Tenant(tenant) => users.security.tenant(tenant).map(|entry| entry.organisation),
    };
    let Some(organisation) = owner(grant.scope()) else {
        return Ok(());
    };
    let has = users.security.grants_of(user);
    let here = has
        .iter()
        .filter(|held| owner(held.scope()) == Some(organisation));
    if here.count() < GRANTS_OF_ORGANISATION_MAX {
        return Ok(());
    }
    let text = format!(
        "the user has {GRANTS_OF_ORGANISATION_MAX} roles in this organisation, the most it may have: revoke one, or grant \
         one at the organisation"
    );
    Err(problem::CONFLICT
        .detail(text)
        .with("code", "user_too_many_roles_here"))
}

/// Whoever may grant a role below could otherwise work there as its own, without the reason that entering from above
/// takes.
fn refuse_to_oneself(request: &Request) -> Result<(), ApiError> {
    let user: UserId = request.param("user")?;
    match &request.context.principal {
        Principal::User(caller) if caller.user == user => {
            let text = "nobody gives a role to oneself: another administrator does";
            Err(ApiError::refused("grant_to_oneself", text).field("user", "is the caller"))
        }
        _ => Ok(()),
    }
}

async fn revoke(users: Users, request: Request) -> Answer {
    let grant = grant_of(&request)?;
    administer(&users, &request, UserCommand::Revoke(grant)).await
}

fn grant_of(request: &Request) -> Result<Grant, ApiError> {
    let role: Role = request.param("role")?;
    Grant::new(scope_of(request)?, role).map_err(|error| {
        let text = error.to_string();
        ApiError::refused("role_not_for_this_place", text.clone()).field("role", text)
    })
}

fn scope_of<B, Q>(request: &Request<B, Q>) -> Result<Scope, ApiError> {
    Place::of_path(request.params()).map(|place| place.scope)
}

/// Makes sure that there is such a place to be a member of.
pub(super) async fn exists(commands: &Commands, scope: Scope) -> Result<(), ApiError> {
    match scope {
        Scope::Platform => Ok(()),
        Scope::Organisation(id) => organisation_exists(commands, id).await,
        Scope::Tenant(id) => tenant_exists(commands, id).await,
    }
}

async fn organisation_exists(commands: &Commands, id: OrganisationId) -> Result<(), ApiError> {
    let loaded = commands
        .organisations
        .load(TenantId::PLATFORM, &id.to_string())
        .await;
    let known = loaded.map_err(unreadable)?.state.details.is_some();
    known
        .then_some(())
        .ok_or_else(|| ApiError::not_found("organisation", id))
}

async fn tenant_exists(commands: &Commands, id: TenantId) -> Result<(), ApiError> {
    let loaded = commands.tenants.load(TenantId::PLATFORM, &id.to_string()).await;
    let known = loaded.map_err(unreadable)?.state.details.is_some();
    known
        .then_some(())
        .ok_or_else(|| ApiError::not_found("tenant", id))
}

fn unreadable(error: impl std::fmt::Display) -> ApiError {
    problem::UNAVAILABLE
        .detail("where the role is to be held could not be read; nothing was done")
        .because(error)
}

/// A command that may change who administers the platform.
async fn administer<B>(users: &Users, request: &Request<B>, command: UserCommand) -> Answer {
    let user: UserId = request.param("user")?;
    let context = request.context.command(TenantId::PLATFORM);
    let executed = change_user(&users.commands, &context, user, command).await?;
    command::heeded(&users.security, &executed).await;
    command::changed(&executed)
}

async fn change<B>(users: &Users, request: &Request<B>, command: UserCommand) -> Answer {
    let user: UserId = request.param("user")?;
    let target = Target::Existing(user.to_string());
    let handler = &users.commands.users;
    let executed = request
        .execute(handler, TenantId::PLATFORM, target, command)
        .await?;
    command::heeded(&users.security, &executed).await;
    command::changed(&executed)
}
