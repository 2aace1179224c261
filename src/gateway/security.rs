//! The key directory over the in-memory security state.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::agent::key::{KeyPepper, PresentedKey};
use counterfoil_events::security::{
    ActivePolicy as StoredPolicy, DamagedLog, Freshness, KeyIdentity, SecurityState,
};

use super::directory::{ActivePolicy, AgentIdentity, DirectoryStale, KeyDirectory, Standing};
use crate::policy::PolicySource;

/// Age said of a state that never stood at the head.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Looks keys up in the security state.
pub struct SecurityDirectory {
    state: SecurityState,
    pepper: Arc<KeyPepper>,
}

impl SecurityDirectory {
    /// Over the state that a tail keeps at the head.
    #[must_use]
    pub fn new(state: SecurityState, pepper: Arc<KeyPepper>) -> Self {
        Self { state, pepper }
    }
}

impl KeyDirectory for SecurityDirectory {
    fn find(&self, key: &PresentedKey) -> Result<Option<Arc<AgentIdentity>>, DirectoryStale> {
        let freshness = self.state.freshness();
        if !freshness.may_answer() {
            let age = match freshness {
                Freshness::Stale { age: Some(age) } => age,
                _ => NEVER,
            };
            return Err(DirectoryStale::Old {
                age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let damaged = |log: DamagedLog| DirectoryStale::Damaged { tenant: log.tenant };
        let found = self.state.identify(key, &self.pepper).map_err(damaged)?;
        Ok(found.map(|identity| Arc::new(agent_identity(&identity))))
    }
}

fn agent_identity(found: &KeyIdentity) -> AgentIdentity {
    let layers = [&found.organisation_policy, &found.tenant_policy];
    AgentIdentity {
        tenant: found.key.tenant,
        organisation: found.tenant.organisation,
        agent: found.key.agent,
        key_id: found.key.key_id,
        standing: Standing {
            key_revoked: found.key.revoked,
            key_expires_at: found.key.expires_at,
            agent_suspended: found.agent.suspended,
            tenant_suspended: found.tenant.suspended.is_some(),
            organisation_suspended: found.organisation.suspended,
        },
        models: found.agent.models.clone(),
        tool_scopes: found.agent.tool_scopes.clone(),
        risk_tier: found.agent.risk_tier,
        policies: layers
            .into_iter()
            .flatten()
            .map(|stored| active(stored))
            .collect(),
    }
}

fn active(stored: &StoredPolicy) -> ActivePolicy {
    let StoredPolicy { reference, source } = stored;
    ActivePolicy {
        reference: *reference,
        source: Arc::new(PolicySource::stored(*reference, Arc::clone(source))),
    }
}
