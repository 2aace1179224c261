//! Signing in, out, and what sessions somebody has. A session is opened by a token alone, never by another session: else
//! one could be drawn out for ever.
//!
//! An issuer vouches for its place and no further. A session that is opened by its token is bound as the token is, and who
//! is bound sees and ends only sessions that are bound likewise: an organisation's issuer could else end those by which its
//! people act elsewhere.

use std::sync::Arc;

use counterfoil_events::agent::key::{IssuedKey, SESSION_MARK};
use counterfoil_events::command::Target;
use counterfoil_events::ids::{ApiKeyId, TenantId, UserId};
use counterfoil_events::security::Known;
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use counterfoil_events::user::{SESSION_LIFE, UserCommand, UserError, UserKind};
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::http::header::SET_COOKIE;

use super::{SessionGate, token_of};
use crate::commands::Commands;
use crate::http::answer::{self, Answer, Response};
use crate::http::auth::{Access, Principal, UserPrincipal};
use crate::http::body::Json;
use crate::http::command::{self, CommandAnswer};
use crate::http::organisation::Reason;
use crate::http::problem::{self, ApiError};
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::identity::Permission;
use crate::session::NewSession;

/// Why one ends by its user's own hand.
const SIGNED_OUT: Code = Code::literal("signed_out");

/// What the group stands on.
#[derive(Clone)]
pub struct SessionRoutes {
    /// The commands of all contexts.
    pub commands: Arc<Commands>,
    /// What takes the cookies.
    pub gate: Arc<SessionGate>,
}

/// A session just opened. The cookie comes beside it, in `Set-Cookie`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionOpened {
    #[serde(flatten)]
    session: CurrentSession,
    #[serde(flatten)]
    opened: CommandAnswer,
}

/// The session by which the request came.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrentSession {
    /// Its name.
    session_id: String,
    /// Its end, however much it is used.
    #[schema(value_type = String)]
    expires_at: Timestamp,
    /// It ends when it was not used for so many seconds.
    idle_s: u64,
    /// To be sent as `X-CSRF-Token` with every request that changes something.
    csrf_token: String,
}

/// One of the caller's sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionItem {
    /// Its name.
    id: String,
    /// Its end, however much it is used.
    #[schema(value_type = String)]
    expires_at: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = String)]
    last_used_at: Timestamp,
    /// Whether this request came by it.
    current: bool,
}

/// The caller's sessions; there are 16 at the most.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    /// In the order of their opening.
    items: Vec<SessionItem>,
}

/// The group's routes.
pub fn routes(sessions: &State<SessionRoutes>) -> Vec<Route> {
    let tag = "sessions";
    let current = "/v1/sessions/current";
    vec![
        Route::post("/v1/sessions", "Open a session by a user's token, for a browser")
            .tag(tag)
            .permission(Access::SignedIn)
            .answers::<SessionOpened>(201, "Opened; the cookie is in Set-Cookie")
            .handle(sessions, open),
        Route::get("/v1/sessions", "The caller's own sessions")
            .tag(tag)
            .permission(Access::SignedIn)
            .answers::<SessionList>(200, "All of them")
            .handle(sessions, list),
        Route::get(
            current,
            "The session that this request came by, and its CSRF token",
        )
        .tag(tag)
        .permission(Access::SignedIn)
        .answers::<CurrentSession>(200, "It")
        .handle(sessions, this_one),
        Route::delete(current, "Sign out")
            .tag(tag)
            .permission(Access::SignedIn)
            .answers::<CommandAnswer>(200, "Ended, and the cookie taken away")
            .handle(sessions, end_current),
        Route::delete("/v1/sessions/{session}", "End one of the caller's own sessions")
            .tag(tag)
            .permission(Access::SignedIn)
            .answers::<CommandAnswer>(200, "Ended")
            .handle(sessions, end_one),
        Route::post(
            "/v1/users/{user}/sessions/end",
            "End all sessions of a user at once",
        )
        .tag("users")
        .permission(Permission::UsersWrite)
        .answers::<CommandAnswer>(200, "Ended")
        .handle(sessions, end_all),
    ]
}

async fn open(routes: SessionRoutes, request: Request) -> Answer {
    let user = caller(&request)?;
    if user.session.is_some() || user.kind != UserKind::Person {
        return Err(problem::FORBIDDEN.detail("a session is opened for a person, by a token: sign in again"));
    }
    let (gate, sessions) = (&routes.gate, &routes.gate.sessions);
    let now = sessions.now();
    let at_its_end = || ApiError::internal("the clock stands at the end of time");
    let expires_at = now.checked_add(SESSION_LIFE).ok_or_else(at_its_end)?;
    let made = IssuedKey::generate_marked(SESSION_MARK, &gate.pepper);
    let row = NewSession {
        session: made.id,
        user: user.user,
        hash: made.hash,
        opened_at: now,
        expires_at,
    };
    // Before the event: a row that the log does not know opens nothing, a session without a row has ended.
    sessions.store().add(&row).await.map_err(unavailable)?;
    let command = UserCommand::OpenSession {
        session_id: made.id,
        hash: made.hash,
        now,
        vouched_by: user.vouched_by,
    };
    let executed = routes.execute(&request, user.user, command).await;
    if !executed.as_ref().is_ok_and(|executed| !executed.replayed) {
        routes.forget(user.user, Some(made.id)).await;
    }
    let executed = executed?;
    if executed.replayed {
        return Err(problem::CONFLICT.detail(
            "this Idempotency-Key opened a session before; its cookie was given then: open another",
        ));
    }
    command::heeded(&gate.security, &executed).await;
    let body = SessionOpened {
        session: CurrentSession {
            session_id: made.id.to_string(),
            expires_at,
            idle_s: sessions.idle().as_secs(),
            csrf_token: token_of(made.expose_text()),
        },
        opened: command::command_answer(&executed),
    };
    let mut response = answer::json(StatusCode::CREATED, &body)?;
    let cookie = gate.cookie.set(made.expose_text())?;
    response.headers_mut().insert(SET_COOKIE, cookie);
    command::put_positions(&mut response, &executed);
    Ok(response)
}

async fn list(routes: SessionRoutes, request: Request) -> Answer {
    let user = caller(&request)?;
    let gate = &routes.gate;
    let now = gate.sessions.now();
    let used = gate
        .sessions
        .store()
        .of_user(user.user)
        .await
        .map_err(unavailable)?;
    let mut items: Vec<SessionItem> = routes
        .within_reach(user)
        .filter(|session| now < session.expires_at)
        .filter_map(|session| {
            let (_, last_used_at) = *used.iter().find(|(known, _)| *known == session.id)?;
            Some(SessionItem {
                id: session.id.to_string(),
                expires_at: session.expires_at,
                last_used_at,
                current: user.session == Some(session.id),
            })
        })
        .collect();
    items.sort_by_key(|item| item.expires_at);
    answer::ok(&SessionList { items })
}

async fn this_one(routes: SessionRoutes, request: Request) -> Answer {
    let (user, session) = by_session(&request)?;
    let gate = &routes.gate;
    let found = routes.within_reach(user).find(|known| known.id == session);
    let (Some(text), Some(Known { expires_at, .. })) = (gate.cookie.shown(&request.headers), found) else {
        // It was ended a moment ago.
        return Err(super::unauthenticated());
    };
    answer::ok(&CurrentSession {
        session_id: session.to_string(),
        expires_at,
        idle_s: gate.sessions.idle().as_secs(),
        csrf_token: token_of(text),
    })
}

async fn end_current(routes: SessionRoutes, request: Request) -> Answer {
    let (user, session) = by_session(&request)?;
    let mut response = routes.end(&request, user.user, session).await?;
    let cleared = routes.gate.cookie.clear()?;
    response.headers_mut().insert(SET_COOKIE, cleared);
    Ok(response)
}

async fn end_one(routes: SessionRoutes, request: Request) -> Answer {
    let user = caller(&request)?;
    let session: ApiKeyId = request.param("session")?;
    // The log knows which there are; what this process knows is enough to tell that one is out of reach.
    let mut known = routes.gate.security.sessions_of(user.user).into_iter();
    if known.any(|known| known.id == session) && !routes.within_reach(user).any(|known| known.id == session) {
        return Err(command::rejected(&UserError::SessionNotFound(session)));
    }
    routes.end(&request, user.user, session).await
}

async fn end_all(routes: SessionRoutes, request: Request<Json<Reason>>) -> Answer {
    let user: UserId = request.param("user")?;
    let reason = request.body.0.reason.clone();
    let executed = routes
        .execute(&request, user, UserCommand::EndSessions { reason })
        .await?;
    command::heeded(&routes.gate.security, &executed).await;
    routes.forget(user, None).await;
    command::changed(&executed)
}

impl SessionRoutes {
    /// The caller's sessions that its credential reaches: all, or those that are bound as it is.
    fn within_reach(&self, user: &UserPrincipal) -> impl Iterator<Item = Known> + use<> {
        let (vouched_by, open) = (user.vouched_by, user.bounds().are_open());
        let known = self.gate.security.sessions_of(user.user).into_iter();
        known.filter(move |session| open || session.vouched_by == vouched_by)
    }

    async fn execute<B>(
        &self,
        request: &Request<B>,
        user: UserId,
        command: UserCommand,
    ) -> Result<counterfoil_events::command::Executed, ApiError> {
        let target = Target::Existing(user.to_string());
        let handler = &self.commands.users;
        request
            .execute(handler, TenantId::PLATFORM, target, command)
            .await
    }

    async fn end(&self, request: &Request, user: UserId, session_id: ApiKeyId) -> Result<Response, ApiError> {
        let reason = SIGNED_OUT;
        let command = UserCommand::EndSession { session_id, reason };
        let executed = self.execute(request, user, command).await?;
        command::heeded(&self.gate.security, &executed).await;
        self.forget(user, Some(session_id)).await;
        command::changed(&executed)
    }

    /// The log has said that it ended; its row goes with the user's next session, if not now.
    async fn forget(&self, user: UserId, one: Option<ApiKeyId>) {
        if let Err(error) = self.gate.sessions.store().delete(user, one).await {
            tracing::warn!(%error, "the row of a session that has ended stays for now");
        }
    }
}

fn caller<B>(request: &Request<B>) -> Result<&UserPrincipal, ApiError> {
    match &request.context.principal {
        Principal::User(user) => Ok(user),
        _ => Err(ApiError::internal("a route for users let somebody else in")),
    }
}

fn by_session(request: &Request) -> Result<(&UserPrincipal, ApiKeyId), ApiError> {
    let user = caller(request)?;
    let none = || problem::NOT_FOUND.detail("this request came by a token, not by a session");
    Ok((user, user.session.ok_or_else(none)?))
}

fn unavailable(error: sqlx::Error) -> ApiError {
    problem::UNAVAILABLE
        .detail("sessions cannot be read or kept at the moment; nothing was done")
        .because(error)
}
