//! From a token to a user, and to how far that reaches.
//!
//! An issuer vouches for its place and no further: by a token of an organisation's issuer a user has only the roles that it
//! holds in that organisation and its tenants, whatever else it holds. Where the issuer is configured with a tenant claim
//! and the token has it, the token is bound to that one tenant, which must be the organisation's.

use std::sync::Arc;

use counterfoil_events::agent::key::KeyPepper;
use counterfoil_events::ids::{IssuerId, TenantId};
use counterfoil_events::issuer::subject::{SUBJECT_BYTES_MAX, SubjectHash};
use counterfoil_events::membership::Scope;
use counterfoil_events::security::{IssuerEntry, SecurityState};
use counterfoil_events::user::VouchedBy;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

use super::Refusal;
use super::cache::IssuerKeys;
use super::token::{Token, is_token};
use crate::http::auth::{Authenticate, Principal, UserPrincipal};
use crate::http::problem::{self, ApiError};
use crate::identity::{Bounds, Tree};

/// Tokens of issuers as a kind of credential.
pub struct SignIn {
    security: SecurityState,
    pepper: Arc<KeyPepper>,
    keys: Arc<IssuerKeys>,
}

/// Why there is no user.
enum NoUser {
    Refused(Refusal),
    /// The issuer's keys are not known at the moment.
    NoKeys,
}

impl From<Refusal> for NoUser {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl SignIn {
    /// Over the state that a tail keeps at the head, and the keys of issuers.
    #[must_use]
    pub fn new(security: SecurityState, pepper: Arc<KeyPepper>, keys: Arc<IssuerKeys>) -> Self {
        Self {
            security,
            pepper,
            keys,
        }
    }

    /// The one live issuer that a token names, and at which its subject signs in.
    ///
    /// Anybody may configure the URL that others sign in at, with another audience that their tokens name. So where there are
    /// several, who is linked at just one of them signs in there; nobody links a subject but the platform. Linked at two, a
    /// token would act in either place: it acts in neither. Nobody is let in here, where the signature is not checked yet.
    fn issuer(&self, token: &Token<'_>) -> Result<(IssuerId, Arc<IssuerEntry>), Refusal> {
        let claims = &token.claims;
        let named = |issuer: &IssuerEntry| {
            !issuer.suspended
                && issuer.url.as_str() == claims.iss
                && claims.aud.contain(issuer.audience.as_str())
        };
        let mut named = self.security.issuers(named);
        if named.len() > 1 {
            named.retain(|(id, _)| {
                let hash = SubjectHash::of(&self.pepper, *id, &claims.sub);
                self.security.identify_subject(*id, hash).is_some()
            });
        }
        match <[_; 1]>::try_from(named) {
            Ok([one]) => Ok(one),
            Err(_) => Err(Refusal::Issuer),
        }
    }

    fn judge(&self, credential: &str, now_s: i64) -> Result<UserPrincipal, NoUser> {
        let token = Token::read(credential)?;
        let (id, issuer) = self.issuer(&token)?;
        self.keys.get(id).ok_or(NoUser::NoKeys)?.verify(&token)?;
        token.claims.check(now_s)?;
        let bounds = self.bounds(&issuer, &token)?;
        let subject = token.claims.sub.as_str();
        if !(1..=SUBJECT_BYTES_MAX).contains(&subject.len()) {
            return Err(Refusal::Subject.into());
        }
        let hash = SubjectHash::of(&self.pepper, id, subject);
        let found = self.security.identify_subject(id, hash);
        let (user, entry) = found
            .filter(|(_, entry)| !entry.suspended)
            .ok_or(Refusal::Subject)?;
        Ok(UserPrincipal {
            user,
            kind: entry.kind,
            grants: Arc::clone(&entry.grants),
            session: None,
            vouched_by: Some(VouchedBy {
                issuer: id,
                organisation: bounds.organisation,
                tenant: bounds.tenant,
            }),
        })
    }

    fn bounds(&self, issuer: &IssuerEntry, token: &Token<'_>) -> Result<Bounds, Refusal> {
        let organisation = match issuer.place {
            Scope::Platform => None,
            Scope::Organisation(organisation) => Some(organisation),
            // None is configured there; one that were would not reach further than its place.
            Scope::Tenant(_) => return Err(Refusal::Issuer),
        };
        let claim = issuer
            .tenant_claim
            .as_ref()
            .and_then(|name| token.claims.other(name.as_str()));
        let tenant = match claim {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.parse::<TenantId>().map_err(|_| Refusal::Tenant)?),
            Some(_) => return Err(Refusal::Tenant),
        };
        let foreign = tenant.is_some_and(|tenant| {
            organisation.is_none() || self.security.organisation_of(tenant) != organisation
        });
        match foreign {
            true => Err(Refusal::Tenant),
            false => Ok(Bounds { organisation, tenant }),
        }
    }
}

impl Authenticate for SignIn {
    fn prepare<'a>(&'a self, credential: &'a str) -> Option<BoxFuture<'a, ()>> {
        let token = Token::read(Some(credential).filter(|text| is_token(text))?).ok()?;
        let (id, issuer) = self.issuer(&token).ok()?;
        Some(async move { self.keys.find(id, &issuer.url, &token.kid).await }.boxed())
    }

    fn authenticate(&self, credential: &str) -> Result<Option<Principal>, ApiError> {
        if !is_token(credential) {
            return Ok(None);
        }
        if !self.security.freshness().may_answer() {
            return Err(problem::UNAVAILABLE
                .detail("tokens cannot be checked at the moment; nothing was done")
                .because("the security state is stale"));
        }
        // By the clock that every other credential expires by.
        let now_s = self.security.postgres_time().now().as_micros() / 1_000_000;
        match self.judge(credential, now_s) {
            Ok(user) => Ok(Some(Principal::User(user))),
            Err(NoUser::NoKeys) => Err(problem::UNAVAILABLE
                .detail("the issuer's keys cannot be had at the moment; nothing was done")
                .because("no keys of the token's issuer that are young enough")),
            Err(NoUser::Refused(reason)) => {
                metrics::counter!("counterfoil_tokens_refused_total", "reason" => reason.to_string())
                    .increment(1);
                tracing::debug!(%reason, "a token was refused");
                Ok(None)
            }
        }
    }
}
