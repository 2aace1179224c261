//! The right by which a request was let in, kept for as long as its answer goes on.

use counterfoil_events::membership::Level;
use warp::http::header::{AUTHORIZATION, COOKIE};
use warp::http::{HeaderMap, HeaderName};

use super::auth::{Access, Authenticators, Principal};
use super::problem::ApiError;
use super::request::PathParams;
use crate::identity::{Place, REASON};

/// The right by which a request was let in, to be asked again while a long answer goes on.
#[derive(Clone)]
pub struct Admission {
    authenticators: Authenticators,
    access: Access,
    params: PathParams,
    credential: HeaderMap,
}

impl Admission {
    pub(super) fn new(
        authenticators: &Authenticators,
        access: Access,
        params: &PathParams,
        headers: &HeaderMap,
    ) -> Self {
        let reason = HeaderName::from_static(REASON);
        let mut credential = HeaderMap::new();
        for name in [AUTHORIZATION, COOKIE, reason] {
            for value in headers.get_all(&name) {
                credential.append(name.clone(), value.clone());
            }
        }
        Self {
            authenticators: authenticators.clone(),
            access,
            params: params.clone(),
            credential,
        }
    }

    /// The highest level from which `principal`, who was let in, may do this, here; none if from nowhere.
    ///
    /// # Errors
    /// 400 naming a parameter that is no id.
    pub fn level(&self, principal: &Principal) -> Result<Option<Level>, ApiError> {
        let Access::Needs(permission) = self.access else {
            return Ok(None);
        };
        let place = Place::of_path(&self.params)?;
        Ok(self.authenticators.level_of(principal, permission, place))
    }

    /// Whether it is by a session, which has lain idle for too long meanwhile: a long answer is no use of it.
    pub async fn session_lies_idle(&self) -> bool {
        self.authenticators.session_lies_idle(&self.credential).await
    }

    /// Whether the same request would be let in now.
    ///
    /// # Errors
    /// As [`Authenticators::admit`].
    pub fn still_stands(&self) -> Result<(), ApiError> {
        self.authenticators
            .admit(self.access, &self.params, &self.credential)
            .map(|_| ())
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the credential.
        f.debug_struct("Admission")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::http::auth::Authenticate;
    use crate::identity::Permission;

    /// A credential that can be taken back.
    struct Revocable(Arc<AtomicBool>);

    impl Authenticate for Revocable {
        fn authenticate(&self, credential: &str) -> Result<Option<Principal>, ApiError> {
            let stands = credential == "token" && !self.0.load(Ordering::Relaxed);
            Ok(stands.then_some(Principal::Bootstrap))
        }
    }

    #[test]
    fn a_long_answer_finds_out_that_its_credential_was_taken_back() {
        let revoked = Arc::new(AtomicBool::new(false));
        let kinds = Authenticators::default().with(Revocable(Arc::clone(&revoked)));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, "Bearer token".parse().unwrap())]);
        let admission = Admission::new(
            &kinds,
            Permission::EventsRead.into(),
            &PathParams::default(),
            &headers,
        );
        admission.still_stands().unwrap();
        revoked.store(true, Ordering::Relaxed);
        assert_eq!(admission.still_stands().unwrap_err().status(), 401);
        let printed = format!("{admission:?}");
        assert!(!printed.contains("token"), "{printed}");
    }
}
