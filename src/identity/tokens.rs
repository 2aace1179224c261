//! Users' tokens as credentials of the HTTP face. A token that ended, was revoked, or belongs to a suspended user is
//! no live credential: it answers as one that never was. A state too old to tell decides nothing (503).

use std::sync::Arc;

use counterfoil_events::agent::key::{KeyPepper, PresentedKey, TOKEN_MARK};
use counterfoil_events::ids::ApiKeyId;
use counterfoil_events::security::{SecurityState, UserIdentity};
use counterfoil_events::timestamp::Timestamp;

use crate::http::auth::{Authenticate, Principal, UserPrincipal};
use crate::http::problem::{self, ApiError};

/// Looks tokens up in the security state.
pub struct UserTokens {
    security: SecurityState,
    pepper: Arc<KeyPepper>,
}

impl UserTokens {
    /// Over the state that a tail keeps at the head.
    #[must_use]
    pub fn new(security: SecurityState, pepper: Arc<KeyPepper>) -> Self {
        Self { security, pepper }
    }
}

impl Authenticate for UserTokens {
    fn authenticate(&self, credential: &str) -> Result<Option<Principal>, ApiError> {
        let Ok(token) = PresentedKey::parse_marked(TOKEN_MARK, credential) else {
            return Ok(None);
        };
        if !self.security.freshness().may_answer() {
            return Err(problem::UNAVAILABLE
                .detail("tokens cannot be checked at the moment; nothing was done")
                .because("the security state is stale"));
        }
        let found = self.security.identify_user(&token, &self.pepper);
        let now = self.security.postgres_time().now();
        Ok(live(found, now).map(|found| Principal::User(principal(&found, None))))
    }
}

/// What is found, unless its time is over or its user is suspended.
pub fn live(found: Option<UserIdentity>, now: Timestamp) -> Option<UserIdentity> {
    found.filter(|found| !found.entry.suspended && now < found.expires_at)
}

/// The user that acts by it.
pub fn principal(found: &UserIdentity, session: Option<ApiKeyId>) -> UserPrincipal {
    UserPrincipal {
        user: found.user,
        kind: found.entry.kind,
        grants: Arc::clone(&found.entry.grants),
        session,
        vouched_by: found.vouched_by,
    }
}
