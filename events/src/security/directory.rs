//! The fold: from events of agents, policies, tenants, organisations, users, issuers and the switch of origin to what lookups
//! ask for. Pure.
//!
//! The order between aggregates does not matter, only the order within each: so the first read of a log may go
//! aggregate by aggregate. What refers to something that is not there yet is simply not found.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::administration::AdministrationEvent;
use crate::agent::AgentEvent;
use crate::agent::key::{KeyPrefix, PresentedHash};
use crate::document::DocumentRef;
use crate::ids::{AgentId, ApiKeyId, OrganisationId, TenantId};
use crate::organisation::OrganisationEvent;
use crate::origin::OriginEvent;
use crate::policy::{PolicyEvent, PolicyLayer, PolicyRef};
use crate::security::change::Change;
use crate::security::damage::DamagedLog;
use crate::security::entries::{
    ActivePolicy, AgentEntry, KeyEntry, KeyIdentity, OrganisationEntry, TenantEntry,
};
use crate::security::issuers::Issuers;
use crate::security::subscribers::SubscriberEntries;
use crate::security::users::Users;
use crate::tenant::TenantEvent;
use crate::timestamp::Timestamp;

/// A policy that has begun to decide, in whose log; its source must be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Activation {
    pub(super) tenant: TenantId,
    pub(super) reference: PolicyRef,
}

#[derive(Default)]
struct PolicyState {
    sources: BTreeMap<u32, DocumentRef>,
    active: Option<Arc<ActivePolicy>>,
}

/// Everything that lookups ask for.
#[derive(Default)]
pub(super) struct Directory {
    agents: HashMap<(TenantId, AgentId), Arc<AgentEntry>>,
    /// By the public part of the key, which few share.
    keys: HashMap<KeyPrefix, Vec<KeyEntry>>,
    tenants: HashMap<TenantId, Arc<TenantEntry>>,
    organisations: HashMap<OrganisationId, Arc<OrganisationEntry>>,
    policies: HashMap<(TenantId, PolicyLayer), PolicyState>,
    pub(super) users: Users,
    /// Logs that cannot be read to their end, and why: what this holds of them is not to be believed.
    damaged: BTreeMap<TenantId, String>,
    pub(super) subscribers: SubscriberEntries,
    /// Until when no proof of origin is asked for.
    pub(super) origin_open_until: Option<Timestamp>,
    pub(super) issuers: Issuers,
    /// Whether the bootstrap token is refused.
    pub(super) bootstrap_closed: bool,
}

// Lookups.
impl Directory {
    pub(super) fn identify(
        &self,
        prefix: KeyPrefix,
        hash: &PresentedHash,
    ) -> Result<Option<KeyIdentity>, DamagedLog> {
        let candidates = self.keys.get(&prefix).into_iter().flatten();
        let Some(key) = candidates.into_iter().find(|key| hash.matches(&key.hash)) else {
            return Ok(None);
        };
        self.check(key.tenant)?;
        Ok(self.identity(*key))
    }

    fn identity(&self, key: KeyEntry) -> Option<KeyIdentity> {
        // Whoever comes with a key of a tenant that has ended is nobody, and leaves no event in its log.
        let tenant = self.tenant(key.tenant).filter(|tenant| !tenant.closed)?;
        Some(KeyIdentity {
            key,
            agent: self.agent(key.tenant, key.agent)?,
            organisation: self.organisation(tenant.organisation)?,
            organisation_policy: self.policy(key.tenant, PolicyLayer::Organisation),
            tenant_policy: self.policy(key.tenant, PolicyLayer::Tenant),
            tenant,
        })
    }

    pub(super) fn check(&self, tenant: TenantId) -> Result<(), DamagedLog> {
        match self.damaged.get(&tenant) {
            None => Ok(()),
            Some(reason) => Err(DamagedLog {
                tenant,
                reason: reason.clone(),
            }),
        }
    }

    /// The logs that cannot be read to their end, by tenant.
    pub(super) fn damaged(&self) -> &BTreeMap<TenantId, String> {
        &self.damaged
    }

    pub(super) fn agent(&self, tenant: TenantId, agent: AgentId) -> Option<Arc<AgentEntry>> {
        self.agents.get(&(tenant, agent)).cloned()
    }

    pub(super) fn tenant(&self, tenant: TenantId) -> Option<Arc<TenantEntry>> {
        self.tenants.get(&tenant).cloned()
    }

    pub(super) fn organisation(&self, id: OrganisationId) -> Option<Arc<OrganisationEntry>> {
        self.organisations.get(&id).cloned()
    }

    pub(super) fn policy(&self, tenant: TenantId, layer: PolicyLayer) -> Option<Arc<ActivePolicy>> {
        let log = match layer {
            PolicyLayer::Tenant => tenant,
            PolicyLayer::Organisation => {
                let organisation = self.tenants.get(&tenant)?.organisation;
                self.organisations.get(&organisation)?.home_tenant
            }
        };
        // Another one may have been activated since: none decides, which means deny.
        self.check(log).ok()?;
        self.policies.get(&(log, layer))?.active.clone()
    }
}

// The fold. Applying an event again changes nothing.
impl Directory {
    /// Nothing that this holds of a tenant's own log counts any more.
    pub(super) fn damage(&mut self, tenant: TenantId, reason: String) {
        self.damaged.entry(tenant).or_insert(reason);
    }

    pub(super) fn apply(&mut self, tenant: TenantId, change: Change) -> Option<Activation> {
        match change {
            Change::Agent(agent, event) => self.apply_agent(tenant, agent, event),
            Change::Policy(layer, event) => return self.apply_policy(tenant, layer, event),
            Change::Tenant(tenant, event) => self.apply_tenant(tenant, event),
            Change::Organisation(organisation, event) => self.apply_organisation(organisation, event),
            Change::User(user, event) => self.users.apply(user, event),
            Change::Subscriber(event) => self.subscribers.apply(tenant, event),
            Change::Origin(OriginEvent::OriginProofSuspended { until, .. }) => {
                self.origin_open_until = Some(until);
            }
            Change::Origin(OriginEvent::OriginProofRestored { .. }) => self.origin_open_until = None,
            Change::Administration(event) => self.apply_administration(&event),
            Change::Issuer(issuer, event) => self.issuers.apply(issuer, event),
            Change::None => {}
        }
        None
    }

    fn apply_administration(&mut self, event: &AdministrationEvent) {
        use AdministrationEvent as E;
        match event {
            E::AdministratorAdded { .. } | E::AdministratorRemoved { .. } => {}
            E::BootstrapClosed { .. } => self.bootstrap_closed = true,
            E::BootstrapReopened { .. } => self.bootstrap_closed = false,
        }
    }

    /// Lets a policy decide from its source; without one, which is a finding of the audit, nothing decides, which
    /// means deny.
    pub(super) fn activate(&mut self, activation: Activation, source: Option<&str>) {
        let Activation { tenant, reference } = activation;
        let state = self.policies.entry((tenant, reference.layer)).or_default();
        state.active = source.map(|source| {
            Arc::new(ActivePolicy {
                reference,
                source: source.into(),
            })
        });
    }

    fn apply_agent(&mut self, tenant: TenantId, agent: AgentId, event: AgentEvent) {
        use AgentEvent as E;
        match event {
            E::AgentRegistered {
                name,
                spec,
                models,
                tool_scopes,
                risk_tier,
            }
            | E::AgentChanged {
                name,
                spec,
                models,
                tool_scopes,
                risk_tier,
            } => {
                let suspended = self.agents.get(&(tenant, agent)).is_some_and(|now| now.suspended);
                let entry = AgentEntry {
                    name,
                    spec,
                    models: models.as_slice().into(),
                    tool_scopes: tool_scopes.as_slice().into(),
                    risk_tier,
                    suspended,
                };
                self.agents.insert((tenant, agent), Arc::new(entry));
            }
            E::AgentSuspended { .. } => self.suspend_agent(tenant, agent, true),
            E::AgentResumed {} => self.suspend_agent(tenant, agent, false),
            E::AgentKeyIssued {
                key_id,
                hash,
                expires_at,
            } => self.issue(KeyEntry {
                tenant,
                agent,
                key_id,
                hash,
                expires_at,
                revoked: false,
            }),
            E::AgentKeyRotated {
                key_id,
                hash,
                expires_at,
                old,
                old_ends_at,
            } => {
                self.end(tenant, agent, (old, old_ends_at));
                self.issue(KeyEntry {
                    tenant,
                    agent,
                    key_id,
                    hash,
                    expires_at,
                    revoked: false,
                });
            }
            E::AgentKeyRevoked { key_id, .. } => self.revoke(tenant, agent, key_id),
        }
    }

    fn suspend_agent(&mut self, tenant: TenantId, agent: AgentId, suspended: bool) {
        if let Some(entry) = self.agents.get_mut(&(tenant, agent)) {
            Arc::make_mut(entry).suspended = suspended;
        }
    }

    fn issue(&mut self, key: KeyEntry) {
        let keys = self.keys.entry(KeyPrefix::of(key.key_id)).or_default();
        let is_it = |known: &KeyEntry| {
            (known.tenant, known.agent, known.key_id) == (key.tenant, key.agent, key.key_id)
        };
        if !keys.iter().any(is_it) {
            keys.push(key);
        }
    }

    /// It ends at this time, unless it ends before.
    fn end(&mut self, tenant: TenantId, agent: AgentId, (key_id, at): (ApiKeyId, Timestamp)) {
        self.key(tenant, agent, key_id).for_each(|key| {
            key.expires_at = Some(key.expires_at.map_or(at, |end| end.min(at)));
        });
    }

    fn revoke(&mut self, tenant: TenantId, agent: AgentId, key_id: ApiKeyId) {
        self.key(tenant, agent, key_id).for_each(|key| key.revoked = true);
    }

    fn key(
        &mut self,
        tenant: TenantId,
        agent: AgentId,
        key_id: ApiKeyId,
    ) -> impl Iterator<Item = &mut KeyEntry> {
        let keys = self.keys.get_mut(&KeyPrefix::of(key_id)).into_iter().flatten();
        keys.filter(move |key| (key.tenant, key.agent, key.key_id) == (tenant, agent, key_id))
    }

    fn apply_policy(
        &mut self,
        tenant: TenantId,
        layer: PolicyLayer,
        event: PolicyEvent,
    ) -> Option<Activation> {
        let state = self.policies.entry((tenant, layer)).or_default();
        let version = match event {
            PolicyEvent::PolicyPublished { version, source, .. } => {
                state.sources.insert(version, source);
                return None;
            }
            PolicyEvent::PolicyActivated { version } | PolicyEvent::PolicyRolledBack { to: version, .. } => {
                version
            }
        };
        let digest = state.sources.get(&version)?.digest;
        let reference = PolicyRef {
            layer,
            version,
            digest,
        };
        Some(Activation { tenant, reference })
    }

    fn apply_tenant(&mut self, tenant: TenantId, event: TenantEvent) {
        use TenantEvent as E;
        if let E::TenantCreated {
            organisation,
            name,
            home,
        } = event
        {
            let entry = TenantEntry {
                organisation,
                name,
                home,
                suspended: None,
                closed: false,
                carriers: BTreeMap::new(),
            };
            self.tenants.insert(tenant, Arc::new(entry));
            return;
        }
        // Each later event was decided on a tenant that exists.
        let Some(entry) = self.tenants.get_mut(&tenant) else {
            return;
        };
        let entry = Arc::make_mut(entry);
        match event {
            E::TenantCreated { .. } | E::ExposureSet { .. } | E::TenantErased { .. } => {}
            E::TenantRenamed { name } => entry.name = name,
            E::TenantSuspended { level, .. } => entry.suspended = Some(level),
            E::TenantResumed {} => entry.suspended = None,
            E::TenantClosed { .. } => entry.closed = true,
            E::TenantCarried { carrier, share } => drop(entry.carriers.insert(carrier, share)),
            E::TenantReleased { carrier } => drop(entry.carriers.remove(&carrier)),
        }
    }

    fn apply_organisation(&mut self, id: OrganisationId, event: OrganisationEvent) {
        use OrganisationEvent as E;
        if let E::OrganisationCreated {
            kind,
            name,
            home_tenant,
        } = event
        {
            let entry = OrganisationEntry {
                kind,
                name,
                home_tenant,
                suspended: false,
            };
            self.organisations.insert(id, Arc::new(entry));
            return;
        }
        // Each later event was decided on an organisation that exists.
        let Some(entry) = self.organisations.get_mut(&id) else {
            return;
        };
        let entry = Arc::make_mut(entry);
        match event {
            E::OrganisationCreated { .. } => {}
            E::OrganisationRenamed { name } => entry.name = name,
            E::OrganisationSuspended { .. } => entry.suspended = true,
            E::OrganisationResumed {} => entry.suspended = false,
        }
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
