//! What a process is made of: what every role stands on, and the parts of each role that it has.

use std::sync::Arc;

use counterfoil_events::background::{Background, stop_all};
use counterfoil_events::ledger::Database;

use super::ServeError;
use super::api::{ApiRole, Means};
use super::basis::Basis;
use super::consumers::ConsumersRole;
use super::health::{self, Watched};
use super::{relay, runner};
use crate::commands::Commands;
use crate::config::{Config, Role};
use crate::http::{Dispatcher, Lifecycle, Readiness};
use crate::signing::KeyFileError;
use crate::vault;
use crate::vault::kms::watched::WatchedKms;

/// The parts of a running process, in the order of their start.
pub struct Parts {
    /// How they are.
    pub readiness: Readiness,
    basis: Basis,
    relay: Vec<Background>,
    consumers: Option<ConsumersRole>,
    runner: Vec<Background>,
    api: ApiRole,
    health: Background,
}

impl Parts {
    pub(super) async fn start(config: &Config, lifecycle: &Lifecycle) -> Result<Self, ServeError> {
        let readiness = Readiness::new();
        let has = |role| config.roles.has(role);
        let kms = vault::kms(&config.vault).map_err(|error| ServeError::Other(error.to_string()))?;
        let kms = Arc::new(WatchedKms::new(kms.ok_or(KeyFileError::NoKms)?));
        let means = Means::prepare(config, lifecycle, &readiness, Arc::clone(&kms)).await?;
        let basis = Basis::start(config, Arc::clone(&kms) as _).await?;
        let of = |role, start: &dyn Fn() -> Vec<Background>| if has(role) { start() } else { Vec::new() };
        let relay = of(Role::Relay, &|| relay::start(&basis));
        let consumers = has(Role::Consumers).then(|| ConsumersRole::start(&basis));
        let runner = of(Role::Runner, &|| runner::start(&basis, &config.kri));
        let api = ApiRole::start(&basis, means, config, &readiness);
        let watched = Watched {
            state: api.security(),
            kms,
            secrets: Arc::clone(&basis.secrets),
            relays: has(Role::Relay),
            proof: config.origin.secret.is_some(),
            bootstrap: has(Role::Api) && config.auth.bootstrap_token.is_some(),
            projections: consumers.as_ref().map(ConsumersRole::status),
        };
        let health = health::start(&readiness, &basis, watched);
        let watched = readiness.heartbeats();
        let loops = relay.iter().chain(&runner).chain(api.loops()).chain([&health]);
        let loops = loops.map(Background::heartbeat).chain(basis.heartbeats());
        loops.for_each(|beat| watched.watch(beat));
        let feeders = consumers
            .iter()
            .flat_map(|consumers| consumers.status().heartbeats());
        feeders.for_each(|beat| watched.watch(&beat));
        Ok(Self {
            readiness,
            basis,
            relay,
            consumers,
            runner,
            api,
            health,
        })
    }

    /// In the reverse order of their start.
    pub(super) async fn stop(self) {
        self.health.stop().await;
        self.api.stop().await;
        stop_all(self.runner).await;
        if let Some(consumers) = self.consumers {
            consumers.stop().await;
        }
        stop_all(self.relay).await;
        self.basis.stop().await;
    }

    /// All commands.
    #[must_use]
    pub fn commands(&self) -> &Arc<Commands> {
        &self.basis.commands
    }

    /// All connections to Postgres.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.basis.database
    }

    /// What answers requests.
    pub(super) fn dispatcher(
        &self,
        config: &Config,
        lifecycle: &Lifecycle,
    ) -> Result<Dispatcher, ServeError> {
        self.api.dispatcher(config, lifecycle)
    }
}
