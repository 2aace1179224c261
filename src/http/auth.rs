//! Who asks, and what a route lets them do.
//!
//! A route names one [`Access`]; the dispatcher checks it in one place, before the body is read. Each
//! kind of credential is one `Authenticate`: the bootstrap token in `bootstrap_token`, agent keys and others
//! where they live. Every refusal of a credential has the same shape, so that nothing can be enumerated, and
//! what a caller does not reach is refused as what does not exist.

use std::sync::Arc;

use counterfoil_events::actor::Actor;
use counterfoil_events::ids::{AgentId, ApiKeyId, OrganisationId, TenantId, UserId};
use counterfoil_events::membership::{Grant, Scope};
use counterfoil_events::user::{UserKind, VouchedBy};
use futures::future::BoxFuture;
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use super::context::RequestId;
use super::problem::{self, ApiError};
use super::request::PathParams;
use super::session::{Asked, SessionGate};
use crate::identity::{
    Bounds, Crossing, Decision, Permission, Place, Record, Tree, crossing_reason, decide_within,
};

pub use super::admission::Admission;
pub use super::bootstrap_token::BootstrapToken;

/// Longest credential that is looked at.
const MAX_CREDENTIAL_BYTES: usize = 4096;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anyone; no credential is looked at.
    Public,
    /// This permission, at the place that the path names.
    Needs(Permission),
    /// A user, whatever roles it has: what the route does is the user's own. Not by a credential that is bound to a place.
    SignedIn,
    /// To act as an agent: a live agent key. The tenant comes from the key.
    AgentKey,
}

impl From<Permission> for Access {
    fn from(permission: Permission) -> Self {
        Self::Needs(permission)
    }
}

impl Access {
    /// How it is called in the API description.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Needs(permission) => permission.as_str(),
            Self::SignedIn => "signed_in",
            Self::AgentKey => "agent_key",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody has been identified.
    Anonymous,
    /// The holder of the bootstrap token.
    Bootstrap,
    /// An agent, by one of its keys.
    Agent(AgentPrincipal),
    /// A person.
    User(UserPrincipal),
}

/// A person who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPrincipal {
    /// Which one.
    pub user: UserId,
    /// A person or a program.
    pub kind: UserKind,
    /// The roles that it has now.
    pub grants: Arc<[Grant]>,
    /// The session by which it is known, if it is not by a token.
    pub session: Option<ApiKeyId>,
    /// By whose word it is known, if that is an issuer's; none for a token of the platform's own.
    pub vouched_by: Option<VouchedBy>,
}

/// An agent that has shown one of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentPrincipal {
    /// Whose agent.
    pub tenant: TenantId,
    /// Which agent.
    pub agent_id: AgentId,
    /// By which key.
    pub key_id: ApiKeyId,
}

impl UserPrincipal {
    /// How far its credential reaches, whatever the roles.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.vouched_by.map_or_else(Bounds::default, |by| Bounds {
            organisation: by.organisation,
            tenant: by.tenant,
        })
    }

    fn actor(&self) -> Actor {
        match self.kind {
            UserKind::Person => Actor::user(self.user),
            UserKind::Service => Actor::service(self.user),
        }
    }
}

impl Principal {
    /// As it stands in the envelopes of the events it causes.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::Anonymous => Actor::system("anonymous"),
            Self::Bootstrap => Actor::bootstrap(),
            Self::Agent(agent) => Actor::agent(agent.agent_id),
            Self::User(user) => user.actor(),
        }
    }

    /// The principal's part in the scope of an Idempotency-Key, and its name in the access log.
    #[must_use]
    pub fn scope(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Bootstrap => "bootstrap".to_owned(),
            Self::Agent(agent) => format!("agent:{}", agent.agent_id),
            Self::User(user) => format!("user:{}", user.user),
        }
    }
}

/// One kind of credential.
pub trait Authenticate: Send + Sync + 'static {
    /// `Ok(None)`: not a credential of this kind, or not a live one; the next kind is asked.
    ///
    /// # Errors
    /// Only when it cannot be decided (503): state too old, a store down. Never for a bad credential.
    fn authenticate(&self, credential: &str) -> Result<Option<Principal>, ApiError>;

    /// What has to be fetched before this credential can be judged; none for most. It ends within seconds.
    fn prepare<'a>(&'a self, _credential: &'a str) -> Option<BoxFuture<'a, ()>> {
        None
    }
}

/// All kinds of credential, asked in order, and the tree of places that roles reach along.
#[derive(Clone)]
pub struct Authenticators {
    kinds: Vec<Arc<dyn Authenticate>>,
    sessions: Option<Arc<SessionGate>>,
    tree: Arc<dyn Tree + Send + Sync>,
    record: Option<Arc<dyn Record>>,
}

/// Somebody who was let in.
#[derive(Debug)]
pub struct Admitted {
    /// Who.
    pub principal: Principal,
    /// That the platform enters a tenant by this: to be put on record before anything is done.
    pub crossing: Option<Crossing>,
}

/// A tree without a tenant.
struct Bare;

impl Tree for Bare {
    fn organisation_of(&self, _: TenantId) -> Option<OrganisationId> {
        None
    }
}

impl Default for Authenticators {
    fn default() -> Self {
        Self::new(Bare)
    }
}

impl Authenticators {
    /// No kind yet: every route but the public ones answers 401.
    #[must_use]
    pub fn new(tree: impl Tree + Send + Sync + 'static) -> Self {
        Self {
            kinds: Vec::new(),
            sessions: None,
            tree: Arc::new(tree),
            record: None,
        }
    }

    /// Puts crossings on record here; without it there is no crossing.
    #[must_use]
    pub fn recording(mut self, record: impl Record) -> Self {
        self.record = Some(Arc::new(record));
        self
    }

    /// Puts a crossing on record. **No record, no entry.**
    ///
    /// # Errors
    /// When it cannot be put on record.
    pub async fn enter(&self, crossing: &Crossing, request: &RequestId) -> Result<(), ApiError> {
        let closed = || problem::FORBIDDEN.detail("nobody crosses into a tenant here");
        self.record
            .as_ref()
            .ok_or_else(closed)?
            .record(crossing, request)
            .await
    }

    /// Which tenant is whose, and where things have stopped.
    pub(super) fn tree(&self) -> &dyn Tree {
        self.tree.as_ref()
    }

    /// Adds a kind of credential.
    #[must_use]
    pub fn with(mut self, kind: impl Authenticate) -> Self {
        self.kinds.push(Arc::new(kind));
        self
    }

    /// Takes cookies of sessions, too.
    #[must_use]
    pub fn with_sessions(mut self, gate: Arc<SessionGate>) -> Self {
        self.sessions = Some(gate);
        self
    }

    /// Where a session is what the request shows: makes sure that it is in use, and that no other site has the browser
    /// send it. To be asked before [`admit`](Self::admit).
    ///
    /// # Errors
    /// 401 for a session that has ended, 403 for another site's request, 503 where it cannot be decided.
    pub async fn session_stands(&self, access: Access, asked: Asked<'_>) -> Result<(), ApiError> {
        let by_session = access != Access::Public && !asked.headers.contains_key(AUTHORIZATION);
        match self.sessions.as_ref().filter(|_| by_session) {
            Some(gate) => gate.stands(asked).await,
            None => Ok(()),
        }
    }

    /// Whether these headers show a session, and nothing beside it, that has lain idle for too long.
    pub async fn session_lies_idle(&self, headers: &HeaderMap) -> bool {
        match &self.sessions {
            Some(gate) if !headers.contains_key(AUTHORIZATION) => gate.lies_idle(headers).await,
            _ => false,
        }
    }

    /// Fetches what is needed to judge the credential of these headers, if something is.
    pub async fn prepare(&self, access: Access, headers: &HeaderMap) {
        let Some(credential) = bearer(headers).filter(|_| access != Access::Public) else {
            return;
        };
        for fetching in self.kinds.iter().filter_map(|kind| kind.prepare(credential)) {
            fetching.await;
        }
    }

    /// Who sends these headers, made sure to be admitted to a route that asks for `access`, at the place that the
    /// path's parameters name. This is the one check of permissions.
    ///
    /// # Errors
    /// 401 without a live credential; 403 with one that may not do this; 404 where it reaches nothing, whether or
    /// not something is there; 503 where it cannot be decided.
    pub fn admit(
        &self,
        access: Access,
        params: &PathParams,
        headers: &HeaderMap,
    ) -> Result<Admitted, ApiError> {
        if access == Access::Public {
            return Ok(Admitted::plainly(Principal::Anonymous));
        }
        let principal = self.who(headers)?.ok_or_else(unauthenticated)?;
        let granted = match (access, &principal) {
            (Access::Public, _)
            | (Access::Needs(_), Principal::Bootstrap)
            | (Access::AgentKey, Principal::Agent(_)) => Ok(None),
            // What is a user's own is nowhere in particular. The routes see to it that a bound credential reaches only
            // what is bound as it is.
            (Access::SignedIn, Principal::User(_)) => Ok(None),
            (Access::Needs(permission), Principal::User(user)) => {
                self.check(user, permission, Place::of_path(params)?, headers)
            }
            (Access::Needs(_), Principal::Agent(_) | Principal::Anonymous)
            | (Access::SignedIn, Principal::Agent(_) | Principal::Bootstrap | Principal::Anonymous)
            | (Access::AgentKey, Principal::User(_) | Principal::Bootstrap | Principal::Anonymous) => {
                Err(problem::FORBIDDEN.detail("this credential is not allowed to use this route"))
            }
        };
        granted.map(|crossing| Admitted { principal, crossing })
    }

    fn check(
        &self,
        user: &UserPrincipal,
        permission: Permission,
        place: Place,
        headers: &HeaderMap,
    ) -> Result<Option<Crossing>, ApiError> {
        let decision = decide_within(user.bounds(), &user.grants, permission, place, self.tree.as_ref());
        match (decision, place.scope) {
            (Decision::Allowed, _) => Ok(None),
            (Decision::Crossing, Scope::Tenant(tenant)) => Ok(Some(Crossing {
                user: user.user,
                actor: user.actor(),
                tenant,
                permission,
                reason: crossing_reason(headers)?,
            })),
            (Decision::Crossing | Decision::Forbidden, _) => Err(problem::FORBIDDEN
                .detail("none of your roles may do this here")
                .with("permission", permission.as_str())),
            (Decision::Hidden, _) => {
                Err(problem::NOT_FOUND.detail("there is no such thing, or you do not reach it"))
            }
        }
    }

    /// By its bearer credential; by its cookie only where it shows none, so that a page that has a token of its own is
    /// never somebody else by a cookie that came along.
    fn who(&self, headers: &HeaderMap) -> Result<Option<Principal>, ApiError> {
        if headers.contains_key(AUTHORIZATION) {
            let credential = bearer(headers);
            return credential.map_or(Ok(None), |credential| self.identify(credential));
        }
        let gate = self.sessions.as_ref();
        gate.map_or(Ok(None), |gate| gate.identify(headers))
    }

    fn identify(&self, credential: &str) -> Result<Option<Principal>, ApiError> {
        for kind in &self.kinds {
            if let Some(principal) = kind.authenticate(credential)? {
                return Ok(Some(principal));
            }
        }
        Ok(None)
    }
}

impl Admitted {
    fn plainly(principal: Principal) -> Self {
        Self {
            principal,
            crossing: None,
        }
    }
}

pub(super) fn unauthenticated() -> ApiError {
    problem::UNAUTHENTICATED.detail("send a valid credential as `Authorization: Bearer …`")
}

/// The bearer credential (RFC 6750 §2.1), if there is one of acceptable length.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = text.split_once(' ')?;
    let credential = credential.trim();
    let fits = (1..=MAX_CREDENTIAL_BYTES).contains(&credential.len());
    (scheme.eq_ignore_ascii_case("bearer") && fits).then_some(credential)
}
