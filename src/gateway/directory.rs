//! Who a key belongs to, as the gateway asks for it: a boundary that the in-memory security state implements.
//!
//! **Contract.** `find` answers from memory, at once, by the state of the log it last knew; it never waits and never
//! does I/O. It knows how far behind it may be and says [`DirectoryStale`] rather than answer from a state that is
//! too old: a revoked key then fails closed. A key that was revoked or has expired, or whose agent, tenant
//! or organisation is suspended, is still *found*, with its standing: to refuse it is step identity.key_state's
//! business, so that the refusal stands in the log. Comparing secrets takes constant time.

use std::sync::Arc;

use counterfoil_events::agent::RiskTier;
use counterfoil_events::agent::key::PresentedKey;
use counterfoil_events::completion::Policies;
use counterfoil_events::ids::{AgentId, ApiKeyId, OrganisationId, TenantId};
use counterfoil_events::policy::PolicyRef;
use counterfoil_events::text::{ModelName, ToolScope};
use counterfoil_events::timestamp::Timestamp;
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use crate::http::{AgentPrincipal, ApiError, Authenticate, Principal, problem};
use crate::policy::PolicySource;

/// Nothing can be said safely about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryStale {
    /// The state is older than it may be for a decision about identity.
    #[error(
        "the state of keys and agents is {age_ms} ms old, more than may be: wait until the log can be read again"
    )]
    Old {
        /// How old.
        age_ms: u64,
    },
    /// The log that the key stands in is damaged.
    #[error("the log of tenant {tenant} is damaged: its agents are denied; run `counterfoil audit verify`")]
    Damaged {
        /// Whose.
        tenant: TenantId,
    },
}

/// What a key stands for.
#[derive(Debug, Clone)]
pub struct AgentIdentity {
    /// Whose log the call goes to.
    pub tenant: TenantId,
    /// The organisation that the tenant belongs to.
    pub organisation: OrganisationId,
    /// Who calls.
    pub agent: AgentId,
    /// By which key.
    pub key_id: ApiKeyId,
    /// Whether they may, leaving policy aside.
    pub standing: Standing,
    /// The models on the spec card.
    pub models: Arc<[ModelName]>,
    /// The tool scopes on the spec card.
    pub tool_scopes: Arc<[ToolScope]>,
    /// The risk tier on the spec card.
    pub risk_tier: RiskTier,
    /// The active policies, organisation before tenant; a layer that is missing has nothing active, and so denies.
    pub policies: Vec<ActivePolicy>,
}

impl AgentIdentity {
    /// The active policies as events name them.
    #[must_use]
    pub fn policy_refs(&self) -> Policies {
        Policies::first_of(self.policies.iter().map(|policy| policy.reference))
    }
}

/// A policy that is in force.
#[derive(Debug, Clone)]
pub struct ActivePolicy {
    /// As events name it.
    pub reference: PolicyRef,
    /// Its text.
    pub source: Arc<PolicySource>,
}

/// What speaks against a key, apart from policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The key was revoked.
    pub key_revoked: bool,
    /// When the key stops working.
    pub key_expires_at: Option<Timestamp>,
    /// The agent is suspended.
    pub agent_suspended: bool,
    /// The tenant is suspended.
    pub tenant_suspended: bool,
    /// The organisation is suspended.
    pub organisation_suspended: bool,
}

/// Looks keys up. See the module's contract.
pub trait KeyDirectory: Send + Sync {
    /// What this key stands for; `None` for a key that was never issued.
    ///
    /// # Errors
    /// [`DirectoryStale`] when it cannot be said safely.
    fn find(&self, key: &PresentedKey) -> Result<Option<Arc<AgentIdentity>>, DirectoryStale>;
}

/// The key that a request presents, if it is of a key's form.
#[must_use]
pub fn presented_key(headers: &HeaderMap) -> Option<PresentedKey> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = text.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        PresentedKey::parse(credential.trim()).ok()
    } else {
        None
    }
}

/// Agent keys as credentials of the HTTP face: who it is, before a body is read. Whether they may call is checked
/// by the pipeline, see the module's contract.
#[derive(Clone)]
pub struct AgentKeys(pub Arc<dyn KeyDirectory>);

impl Authenticate for AgentKeys {
    fn authenticate(&self, credential: &str) -> Result<Option<Principal>, ApiError> {
        let Ok(key) = PresentedKey::parse(credential) else {
            return Ok(None);
        };
        let stale = |error: DirectoryStale| {
            problem::UNAVAILABLE
                .detail("keys cannot be checked at the moment; nothing was done")
                .because(error)
        };
        let found = self.0.find(&key).map_err(stale)?;
        Ok(found.map(|identity| {
            Principal::Agent(AgentPrincipal {
                tenant: identity.tenant,
                agent_id: identity.agent,
                key_id: identity.key_id,
            })
        }))
    }
}
