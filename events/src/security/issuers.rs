//! Issuers, by what their tokens say: the part of the fold that tells who may vouch for users, and how far.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{IssuerId, OrganisationId};
use crate::issuer::{Audience, ClaimName, IssuerEvent, IssuerUrl};
use crate::membership::Scope;

/// An issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerEntry {
    /// How far it reaches.
    pub place: Scope,
    /// Its name in its tokens.
    pub url: IssuerUrl,
    /// For whom its tokens must be.
    pub audience: Audience,
    /// Which claim names the tenant that a token is bound to.
    pub tenant_claim: Option<ClaimName>,
    /// Whether nobody signs in by it.
    pub suspended: bool,
}

impl IssuerEntry {
    /// Whose it is; none for an issuer of the platform.
    #[must_use]
    pub fn organisation(&self) -> Option<OrganisationId> {
        match self.place {
            Scope::Organisation(organisation) => Some(organisation),
            // A tenant has no issuers; a place that is none of ours reaches nothing, as `decide` sees to it.
            Scope::Platform | Scope::Tenant(_) => None,
        }
    }
}

/// All of them. A few per organisation.
#[derive(Default)]
pub(super) struct Issuers(HashMap<IssuerId, Arc<IssuerEntry>>);

impl Issuers {
    pub(super) fn get(&self, id: IssuerId) -> Option<Arc<IssuerEntry>> {
        self.0.get(&id).cloned()
    }

    /// Those that satisfy `wanted`, in the order of ids.
    pub(super) fn list(&self, wanted: impl Fn(&IssuerEntry) -> bool) -> Vec<(IssuerId, Arc<IssuerEntry>)> {
        let found = self.0.iter().filter(|(_, entry)| wanted(entry));
        let mut found: Vec<_> = found.map(|(id, entry)| (*id, Arc::clone(entry))).collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found
    }

    pub(super) fn apply(&mut self, id: IssuerId, event: IssuerEvent) {
        use IssuerEvent as E;
        match event {
            E::IssuerConfigured {
                place,
                url,
                audience,
                tenant_claim,
            } => {
                let new = || IssuerEntry {
                    place,
                    url,
                    audience,
                    tenant_claim,
                    suspended: false,
                };
                // Read again it changes nothing: what came later stays.
                self.0.entry(id).or_insert_with(|| Arc::new(new()));
            }
            E::IssuerChanged { tenant_claim } => self.change(id, |entry| entry.tenant_claim = tenant_claim),
            E::IssuerSuspended { .. } => self.change(id, |entry| entry.suspended = true),
            E::IssuerResumed {} => self.change(id, |entry| entry.suspended = false),
        }
    }

    fn change(&mut self, id: IssuerId, change: impl FnOnce(&mut IssuerEntry)) {
        // Each later event was decided on an issuer that exists.
        if let Some(entry) = self.0.get_mut(&id) {
            change(Arc::make_mut(entry));
        }
    }
}
