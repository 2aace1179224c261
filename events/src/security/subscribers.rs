//! Credentials of subscribers by NATS: the part of the fold that tells whose events one may follow.

use std::collections::{BTreeMap, HashMap};

use crate::agent::key::PresentedHash;
use crate::ids::{ApiKeyHash, ApiKeyId, TenantId};
use crate::subscriber::{SubscriberEvent, keep_latest};
use crate::timestamp::Timestamp;

/// Whose events a credential opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriberEntry {
    /// Whose.
    pub tenant: TenantId,
    /// When it stops working.
    pub expires_at: Timestamp,
    hash: ApiKeyHash,
}

/// All of them; one that was revoked is gone.
#[derive(Default)]
pub(super) struct SubscriberEntries {
    by_id: HashMap<ApiKeyId, SubscriberEntry>,
    /// So that a tenant's entries stay as few as its aggregate holds.
    by_tenant: HashMap<TenantId, BTreeMap<ApiKeyId, Timestamp>>,
}

impl SubscriberEntries {
    pub(super) fn find(&self, id: ApiKeyId, hash: &PresentedHash) -> Option<SubscriberEntry> {
        self.by_id
            .get(&id)
            .filter(|entry| hash.matches(&entry.hash))
            .copied()
    }

    pub(super) fn stands(&self, tenant: TenantId, id: ApiKeyId) -> bool {
        self.by_id.get(&id).is_some_and(|entry| entry.tenant == tenant)
    }

    pub(super) fn apply(&mut self, tenant: TenantId, event: SubscriberEvent) {
        let live = self.by_tenant.entry(tenant).or_default();
        match event {
            SubscriberEvent::SubscriberCredentialIssued {
                credential_id,
                hash,
                expires_at,
            } => {
                keep_latest(live, credential_id, expires_at);
                let entry = SubscriberEntry {
                    tenant,
                    expires_at,
                    hash,
                };
                self.by_id.insert(credential_id, entry);
            }
            SubscriberEvent::SubscriberCredentialRevoked { credential_id, .. } => {
                live.remove(&credential_id);
            }
        }
        self.by_id
            .retain(|id, entry| entry.tenant != tenant || live.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agent::key::{IssuedKey, KeyPepper, PresentedKey, SUBSCRIBER_MARK};
    use crate::text::Code;

    #[test]
    fn a_credential_opens_its_tenants_events_until_it_is_revoked() {
        let (mut entries, pepper, tenant) = (
            SubscriberEntries::default(),
            KeyPepper::new([3; 32]),
            TenantId::generate(),
        );
        let [ours, theirs] = [(); 2].map(|()| IssuedKey::generate_marked(SUBSCRIBER_MARK, &pepper));
        let expires_at: Timestamp = "2026-11-20T16:00:00.000000Z".parse().unwrap();
        let issued = |key: &IssuedKey| SubscriberEvent::SubscriberCredentialIssued {
            credential_id: key.id,
            hash: key.hash,
            expires_at,
        };
        entries.apply(tenant, issued(&ours));
        entries.apply(TenantId::generate(), issued(&theirs));
        let find = |entries: &SubscriberEntries, id: ApiKeyId, key: &IssuedKey| {
            let shown = PresentedKey::parse_marked(SUBSCRIBER_MARK, key.expose_text()).unwrap();
            entries.find(id, &shown.hash(&pepper)).map(|found| found.tenant)
        };
        assert_eq!(find(&entries, ours.id, &ours), Some(tenant));
        assert_eq!(find(&entries, ours.id, &theirs), None, "by another's secret");
        assert_eq!(find(&entries, theirs.id, &ours), None);
        let (credential_id, reason) = (ours.id, Code::literal("leaked"));
        entries.apply(
            tenant,
            SubscriberEvent::SubscriberCredentialRevoked {
                credential_id,
                reason,
            },
        );
        assert_eq!(find(&entries, ours.id, &ours), None);
        assert!(
            find(&entries, theirs.id, &theirs).is_some(),
            "another tenant's stays"
        );
    }
}
