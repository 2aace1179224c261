//! The security state: who may act, held in memory by every process.
//!
//! Agent keys, agents, tenants, organisations, users, issuers and active policies, folded from the log. It tails *Postgres*, never
//! JetStream, so that a revocation works with NATS down, and it knows when it last stood at the head: a lookup is
//! worth as much as [`SecurityState::freshness`] says. Lookups take a read lock for as long as they copy some
//! pointers; there is no I/O in them.
//!
//! - `directory` is the pure fold, `entries` what it holds, `feed` the reads, [`SecurityTail`] the task.
//! - An event that this build does not know stops the tail for good: the process needs an upgrade, and denies.

mod directory;
mod entries;
mod feed;
mod freshness;
mod issuers;
mod subjects;
mod tail;
mod users;

use std::sync::{Arc, PoisonError, RwLock};

pub use directory::FoldError;
pub use entries::{ActivePolicy, AgentEntry, KeyEntry, KeyIdentity, OrganisationEntry, TenantEntry};
pub use feed::FeedError;
pub use freshness::{DEGRADED_AFTER, DENIED_AFTER, Freshness};
pub use issuers::IssuerEntry;
pub use tail::{SecurityTail, TailParts};
pub use users::{UserEntry, UserIdentity};

use crate::agent::key::{KeyPepper, PresentedKey};
use crate::ids::{AgentId, IssuerId, OrganisationId, TenantId, UserId};
use crate::issuer::subject::SubjectHash;
use crate::membership::{Role, Scope};
use crate::policy::PolicyLayer;
use directory::Directory;
use freshness::Clock;

/// Who may act. Clones are one state.
#[derive(Clone, Default)]
pub struct SecurityState {
    directory: Arc<RwLock<Directory>>,
    clock: Arc<Clock>,
}

impl SecurityState {
    /// How much a lookup is worth now.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.clock.freshness()
    }

    /// Whether it has once stood at the heads that it read when it began.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.clock.has_stood_at_the_head()
    }

    /// What a presented key stands for; none for a key that was never issued. The state of key, agent, tenant and
    /// organisation, and the policies, are of one moment. Secrets are compared in constant time.
    #[must_use]
    pub fn identify(&self, key: &PresentedKey, pepper: &KeyPepper) -> Option<KeyIdentity> {
        let hash = key.hash(pepper);
        self.read().identify(key.prefix(), &hash)
    }

    /// What a user's presented token stands for; none for one that was never issued or was revoked.
    #[must_use]
    pub fn identify_user(&self, token: &PresentedKey, pepper: &KeyPepper) -> Option<UserIdentity> {
        let hash = token.hash(pepper);
        self.read().users.identify(token.prefix(), &hash)
    }

    /// The user who signs in at an issuer as this subject, whatever its state; none for a subject that is not linked.
    #[must_use]
    pub fn identify_subject(
        &self,
        issuer: IssuerId,
        subject: SubjectHash,
    ) -> Option<(UserId, Arc<UserEntry>)> {
        self.read().users.identify_subject(issuer, subject)
    }

    /// An issuer.
    #[must_use]
    pub fn issuer(&self, issuer: IssuerId) -> Option<Arc<IssuerEntry>> {
        self.read().issuers.get(issuer)
    }

    /// The issuers that satisfy `wanted`, in the order of ids.
    #[must_use]
    pub fn issuers(&self, wanted: impl Fn(&IssuerEntry) -> bool) -> Vec<(IssuerId, Arc<IssuerEntry>)> {
        self.read().issuers.list(wanted)
    }

    /// Whether the bootstrap token is refused. Worth as much as [`Self::freshness`] says.
    #[must_use]
    pub fn is_bootstrap_closed(&self) -> bool {
        self.read().bootstrap_closed
    }

    /// Who has which roles at just this place, after a user, in the order of ids.
    #[must_use]
    pub fn members(&self, scope: Scope, after: Option<UserId>) -> Vec<(UserId, Vec<Role>)> {
        self.read().users.members(scope, after)
    }

    /// An agent.
    #[must_use]
    pub fn agent(&self, tenant: TenantId, agent: AgentId) -> Option<Arc<AgentEntry>> {
        self.read().agent(tenant, agent)
    }

    /// A tenant.
    #[must_use]
    pub fn tenant(&self, tenant: TenantId) -> Option<Arc<TenantEntry>> {
        self.read().tenant(tenant)
    }

    /// An organisation.
    #[must_use]
    pub fn organisation(&self, organisation: OrganisationId) -> Option<Arc<OrganisationEntry>> {
        self.read().organisation(organisation)
    }

    /// The policy that decides in `layer` for `tenant`: the organisation's stands in the log of its home tenant.
    #[must_use]
    pub fn policy(&self, tenant: TenantId, layer: PolicyLayer) -> Option<Arc<ActivePolicy>> {
        self.read().policy(tenant, layer)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Directory> {
        // Whoever writes applies one event at a time, each whole; a panic elsewhere cannot leave it half applied.
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }
}
