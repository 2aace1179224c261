//! The commands of every context, over one sequencer: what all faces (HTTP, gateway, runners, demo) go through.

use counterfoil_events::administration::Administration;
use counterfoil_events::agent::Agent;
use counterfoil_events::command::CommandHandler;
use counterfoil_events::completion::Completion;
use counterfoil_events::ids::TenantId;
use counterfoil_events::issuer::Issuer;
use counterfoil_events::keyring::SigningKeys;
use counterfoil_events::kri::aggregates::indicator::Kri;
use counterfoil_events::kri::aggregates::run::KriRun;
use counterfoil_events::kri::aggregates::source::KriSource;
use counterfoil_events::ledger::Sequencer;
use counterfoil_events::organisation::Organisation;
use counterfoil_events::origin::Origin;
use counterfoil_events::policy::Policy;
use counterfoil_events::secret::Secret;
use counterfoil_events::subscriber::Subscribers;
use counterfoil_events::tenant::Tenant;
use counterfoil_events::user::User;
use counterfoil_events::vault_key::VaultKey;

/// A command handler per kind of aggregate.
pub struct Commands {
    /// What they append through.
    pub sequencer: Sequencer,
    /// How many backbone partitions new tenants are spread over.
    partitions: u32,
    /// In the platform's log.
    pub organisations: CommandHandler<Organisation>,
    /// In the platform's log.
    pub tenants: CommandHandler<Tenant>,
    /// In the platform's log.
    pub users: CommandHandler<User>,
    /// In the platform's log.
    pub origin: CommandHandler<Origin>,
    /// In the platform's log.
    pub administration: CommandHandler<Administration>,
    /// In the platform's log.
    pub issuers: CommandHandler<Issuer>,
    /// In the platform's log.
    pub keyring: CommandHandler<SigningKeys>,
    /// In a tenant's log.
    pub agents: CommandHandler<Agent>,
    /// In a tenant's log.
    pub policies: CommandHandler<Policy>,
    /// In a tenant's log.
    pub completions: CommandHandler<Completion>,
    /// In a tenant's log.
    pub kris: CommandHandler<Kri>,
    /// In a tenant's log.
    pub kri_sources: CommandHandler<KriSource>,
    /// In a tenant's log.
    pub kri_runs: CommandHandler<KriRun>,
    /// In a tenant's log.
    pub secrets: CommandHandler<Secret>,
    /// In the platform's log.
    pub vault_keys: CommandHandler<VaultKey>,
    /// In a tenant's log.
    pub subscribers: CommandHandler<Subscribers>,
}

impl Commands {
    /// All on `sequencer`; new tenants are spread over `partitions`.
    #[must_use]
    pub fn new(sequencer: Sequencer, partitions: u32) -> Self {
        Self {
            partitions: partitions.max(1),
            organisations: CommandHandler::new(sequencer.clone()),
            tenants: CommandHandler::new(sequencer.clone()),
            users: CommandHandler::new(sequencer.clone()),
            origin: CommandHandler::new(sequencer.clone()),
            administration: CommandHandler::new(sequencer.clone()),
            issuers: CommandHandler::new(sequencer.clone()),
            keyring: CommandHandler::new(sequencer.clone()),
            agents: CommandHandler::new(sequencer.clone()),
            policies: CommandHandler::new(sequencer.clone()),
            completions: CommandHandler::new(sequencer.clone()),
            kris: CommandHandler::new(sequencer.clone()),
            kri_sources: CommandHandler::new(sequencer.clone()),
            kri_runs: CommandHandler::new(sequencer.clone()),
            secrets: CommandHandler::new(sequencer.clone()),
            vault_keys: CommandHandler::new(sequencer.clone()),
            subscribers: CommandHandler::new(sequencer.clone()),
            sequencer,
        }
    }

    /// The backbone partition of a new tenant, for good: another count later is for later tenants only.
    #[must_use]
    pub fn assign_partition(&self, tenant: TenantId) -> u32 {
        let [a, b, c, d, ..] = *blake3::hash(tenant.0.as_bytes()).as_bytes();
        u32::from_le_bytes([a, b, c, d]) % self.partitions
    }
}
