//! Sessions of people at a browser: a token is exchanged for a cookie, and the cookie is a credential of its own.
//!
//! - `cookie` is what the browser keeps, `cross_site` what makes sure that no other site uses it.
//! - [`SessionGate`] tells who somebody is by a cookie, and whether the session is in use ([`crate::session`]).
//! - `routes` opens, lists and ends sessions.
//!
//! Each sign-in makes another session with another name and another secret: there is none that a visitor could have been
//! given beforehand (session fixation).

mod cookie;
mod cross_site;
mod routes;

use std::sync::Arc;

use counterfoil_events::agent::key::{KeyPepper, PresentedKey, SESSION_MARK};
use counterfoil_events::security::{SecurityState, UserIdentity};
use warp::http::HeaderMap;

pub use cookie::CookieKind;
pub use cross_site::{Asked, CrossSite, X_CSRF_TOKEN, token_of};
pub use routes::{SessionRoutes, routes};

use super::auth::{Principal, unauthenticated};
use super::problem::{self, ApiError};
use crate::identity::{live, principal};
use crate::session::Sessions;

/// Takes cookies of sessions as credentials.
pub struct SessionGate {
    /// Who has which session.
    pub security: SecurityState,
    /// Under which they are hashed.
    pub pepper: Arc<KeyPepper>,
    /// Which are in use.
    pub sessions: Arc<Sessions>,
    /// How a browser keeps them.
    pub cookie: CookieKind,
    /// The console's origin, if it is configured.
    pub origin: Option<String>,
}

impl SessionGate {
    /// Who shows this cookie. None: nobody, or nobody any more.
    ///
    /// # Errors
    /// 503 when the state is too old to tell.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Option<Principal>, ApiError> {
        let found = self.found(headers)?;
        Ok(found.map(|found| Principal::User(principal(&found, Some(found.credential)))))
    }

    /// Makes sure that a session, where a request shows a live one, is sent by a page of ours and in use.
    ///
    /// # Errors
    /// 403 for what may be another site's; 401 when it has lain idle for too long; 503 when nobody can tell.
    pub async fn stands(&self, asked: Asked<'_>) -> Result<(), ApiError> {
        let (Some(text), Some(found)) = (self.cookie.shown(asked.headers), self.found(asked.headers)?) else {
            // Whether a credential is needed at all is not asked here.
            return Ok(());
        };
        cross_site::check(asked, text, self.origin.as_deref()).map_err(|why| {
            problem::FORBIDDEN
                .detail("a session is used by the console's own pages alone: send Origin and X-CSRF-Token, or a bearer token")
                .with("code", "cross_site")
                .because(why)
        })?;
        match self.sessions.is_in_use(found.credential, &found.hash).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(unauthenticated()),
            Err(error) => Err(problem::UNAVAILABLE
                .detail("sessions cannot be checked at the moment; nothing was done")
                .because(error)),
        }
    }

    /// Whether the session that a long answer was begun by has lain idle for too long. Where nobody can tell it has not: what
    /// cannot be decided for long ends the answer in another way.
    pub async fn lies_idle(&self, headers: &HeaderMap) -> bool {
        let Ok(Some(found)) = self.found(headers) else {
            return false;
        };
        let idle = self.sessions.lies_idle(found.credential, &found.hash).await;
        idle.unwrap_or_else(|error| {
            tracing::warn!(%error, "whether a session lies idle cannot be told at the moment");
            false
        })
    }

    fn found(&self, headers: &HeaderMap) -> Result<Option<UserIdentity>, ApiError> {
        let shown = self.cookie.shown(headers);
        let Some(shown) = shown.and_then(|text| PresentedKey::parse_marked(SESSION_MARK, text).ok()) else {
            return Ok(None);
        };
        if !self.security.freshness().may_answer() {
            return Err(problem::UNAVAILABLE
                .detail("sessions cannot be checked at the moment; nothing was done")
                .because("the security state is stale"));
        }
        let found = self.security.identify_session(&shown, &self.pepper);
        Ok(live(found, self.sessions.now()))
    }
}
