//! The security state: who may act, held in memory by every process.
//!
//! Agent keys, agents, tenants, organisations, users, issuers and active policies, folded from the log. It tails *Postgres*, never
//! JetStream, so that a revocation works with NATS down, and it knows when it last stood at the head: a lookup is
//! worth as much as [`SecurityState::freshness`] says. Lookups take a read lock for as long as they copy some
//! pointers; there is no I/O in them.
//!
//! - `directory` is the pure fold, `entries` what it holds, `feed` the reads, [`keep_at_the_head`] the loop.
//! - An event that this build does not know stops the tail for good: the process needs an upgrade, and denies. One that
//!   is damaged denies what its log has a say in (`damage`).
//! - A log that was set back is read anew from its beginning, and everything is denied until that is done.

mod change;
mod credentials;
mod damage;
mod directory;
mod entries;
mod feed;
mod freshness;
mod issuers;
mod reached;
mod subjects;
mod subscribers;
mod tail;
mod time;
mod users;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

pub use change::FoldError;
pub use credentials::Known;
pub use damage::DamagedLog;
pub use entries::{ActivePolicy, AgentEntry, KeyEntry, KeyIdentity, OrganisationEntry, TenantEntry};
pub use feed::FeedError;
pub use freshness::{DEGRADED_AFTER, DENIED_AFTER, Freshness};
pub use issuers::IssuerEntry;
pub use subscribers::SubscriberEntry;
pub use tail::{TailParts, keep_at_the_head};
pub use users::{UserEntry, UserIdentity};

use crate::agent::key::{KeyPepper, PresentedKey};
use crate::ids::{AgentId, ApiKeyId, IssuerId, OrganisationId, Position, TenantId, UserId};
use crate::issuer::subject::SubjectHash;
use crate::membership::{Grant, Level, Role, Scope};
use crate::policy::PolicyLayer;
use crate::timestamp::{self, Timestamp};
use crate::user::VouchedBy;
use directory::Directory;
use freshness::Clock;
use reached::Reached;
use time::PostgresClock;

/// Who may act. Clones are one state.
#[derive(Clone, Default)]
pub struct SecurityState {
    directory: Arc<RwLock<Directory>>,
    clock: Arc<Clock>,
    postgres_time: Arc<PostgresClock>,
    reached: Arc<Reached>,
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

    /// Waits until what stands in a log up to here is heeded by this process. Forever, where nothing keeps it at the head.
    pub async fn heeds(&self, tenant: TenantId, position: Position) {
        self.reached.wait(tenant, position).await;
    }

    /// Postgres's time as of the last scan, and what has passed since: by which keys and tokens expire.
    #[must_use]
    pub fn postgres_time(&self) -> Arc<dyn timestamp::Clock> {
        Arc::clone(&self.postgres_time) as Arc<dyn timestamp::Clock>
    }

    /// What a presented key stands for; none for a key that was never issued. The state of key, agent, tenant and
    /// organisation, and the policies, are of one moment. Secrets are compared in constant time.
    ///
    /// # Errors
    /// When the log that the key stands in is damaged: it may have been revoked in the part that cannot be read.
    pub fn identify(
        &self,
        key: &PresentedKey,
        pepper: &KeyPepper,
    ) -> Result<Option<KeyIdentity>, DamagedLog> {
        let hash = key.hash(pepper);
        self.read().identify(key.prefix(), &hash)
    }

    /// The tenants whose logs are damaged, with what was found: their agents are denied.
    #[must_use]
    pub fn damaged(&self) -> BTreeMap<TenantId, String> {
        self.read().damaged().clone()
    }

    /// What a user's presented token stands for; none for one that was never issued or was revoked.
    #[must_use]
    pub fn identify_user(&self, token: &PresentedKey, pepper: &KeyPepper) -> Option<UserIdentity> {
        let hash = token.hash(pepper);
        self.read().users.identify(token.prefix(), &hash)
    }

    /// What a presented session stands for, its user among it; none for one that was never opened or has been ended, or
    /// was opened by the word of an issuer that is not heeded now, or at which the user does not sign in any more.
    #[must_use]
    pub fn identify_session(&self, session: &PresentedKey, pepper: &KeyPepper) -> Option<UserIdentity> {
        let hash = session.hash(pepper);
        let directory = self.read();
        let found = directory.users.identify_session(session.prefix(), &hash)?;
        let heeded = |by: VouchedBy| {
            let issuer = directory.issuers.get(by.issuer);
            // Unlinked, nobody is vouched for.
            let linked = directory.users.subjects.are_at(found.user, by.issuer);
            linked && issuer.is_some_and(|issuer| !issuer.suspended)
        };
        found.vouched_by.is_none_or(heeded).then_some(found)
    }

    /// A user's sessions that were not ended; the times of some may have passed.
    #[must_use]
    pub fn sessions_of(&self, user: UserId) -> Vec<Known> {
        self.read().users.sessions_of(user)
    }

    /// Whose events a presented credential of this name opens; none for one that was never issued or was revoked.
    #[must_use]
    pub fn subscriber(
        &self,
        id: ApiKeyId,
        shown: &PresentedKey,
        pepper: &KeyPepper,
    ) -> Option<SubscriberEntry> {
        let hash = shown.hash(pepper);
        let directory = self.read();
        let found = directory.subscribers.find(id, &hash)?;
        // In a log that is damaged it may have been revoked in the part that cannot be read.
        directory.check(found.tenant).ok()?;
        Some(found)
    }

    /// Whether a tenant's credential of this name was issued and not revoked. Its end is not asked for.
    #[must_use]
    pub fn subscriber_stands(&self, tenant: TenantId, id: ApiKeyId) -> bool {
        let directory = self.read();
        directory.subscribers.stands(tenant, id) && directory.check(tenant).is_ok()
    }

    /// Until when no proof of origin is asked for; it may have passed. None: it is asked for.
    #[must_use]
    pub fn origin_open_until(&self) -> Option<Timestamp> {
        self.read().origin_open_until
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

    /// A user's roles, wherever they are.
    #[must_use]
    pub fn grants_of(&self, user: UserId) -> Arc<[Grant]> {
        self.read().users.grants_of(user)
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

    /// From where everything in a tenant is stopped, if it is: it was suspended, or its organisation was, which only the
    /// platform does. What is not known yet, the platform's own log among it, is not.
    #[must_use]
    pub fn stopped_at(&self, tenant: TenantId) -> Option<Level> {
        let tenant = self.tenant(tenant)?;
        let organisation = self.organisation(tenant.organisation);
        let organisation = organisation.is_some_and(|organisation| organisation.suspended);
        if organisation {
            Some(Level::Platform)
        } else {
            tenant.suspended
        }
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
