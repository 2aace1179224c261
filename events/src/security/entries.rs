//! What the security state holds of each thing. Entries are replaced whole, so that a lookup copies a pointer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::agent::RiskTier;
use crate::document::DocumentRef;
use crate::ids::{AgentId, ApiKeyHash, ApiKeyId, OrganisationId, TenantId};
use crate::membership::Level;
use crate::organisation::OrganisationKind;
use crate::policy::PolicyRef;
use crate::tenant::Share;
use crate::text::{ModelName, Name, ToolScope};
use crate::timestamp::Timestamp;

/// A tenant.
#[derive(Debug, Clone)]
pub struct TenantEntry {
    /// Whose it is.
    pub organisation: OrganisationId,
    /// What people call it.
    pub name: Name,
    /// Whether it is its organisation's home tenant.
    pub home: bool,
    /// From where everything in it is stopped, if it is.
    pub suspended: Option<Level>,
    /// Whether it has ended, for good.
    pub closed: bool,
    /// Who carries which share of its risk.
    pub carriers: BTreeMap<OrganisationId, Share>,
}

/// An organisation.
#[derive(Debug, Clone)]
pub struct OrganisationEntry {
    /// What kind it is.
    pub kind: OrganisationKind,
    /// What people call it.
    pub name: Name,
    /// The tenant in which its own people work.
    pub home_tenant: TenantId,
    /// Whether everything in its tenants is stopped.
    pub suspended: bool,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct AgentEntry {
    /// What people call it.
    pub name: Name,
    /// Its spec card.
    pub spec: DocumentRef,
    /// The models that it may use.
    pub models: Arc<[ModelName]>,
    /// What its tools may be used for.
    pub tool_scopes: Arc<[ToolScope]>,
    /// How much harm it could do.
    pub risk_tier: RiskTier,
    /// Whether it is denied everything.
    pub suspended: bool,
}

/// An API key. A revoked one stays, so that its use can be told from a guess.
#[derive(Debug, Clone, Copy)]
pub struct KeyEntry {
    /// Whose log it stands in.
    pub tenant: TenantId,
    /// Whose key it is.
    pub agent: AgentId,
    /// Its name.
    pub key_id: ApiKeyId,
    /// Its keyed hash.
    pub hash: ApiKeyHash,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A policy that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivePolicy {
    /// As events name it.
    pub reference: PolicyRef,
    /// Its source.
    pub source: Arc<str>,
}

/// What a key stands for, all of one moment.
#[derive(Debug, Clone)]
pub struct KeyIdentity {
    /// The key.
    pub key: KeyEntry,
    /// Whose it is.
    pub agent: Arc<AgentEntry>,
    /// Where it acts.
    pub tenant: Arc<TenantEntry>,
    /// Whose tenant that is.
    pub organisation: Arc<OrganisationEntry>,
    /// The organisation's policy, if one decides.
    pub organisation_policy: Option<Arc<ActivePolicy>>,
    /// The tenant's own policy, if one decides.
    pub tenant_policy: Option<Arc<ActivePolicy>>,
}
