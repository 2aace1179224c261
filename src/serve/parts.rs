//! What a process is made of, by role.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::kri::{KriRunner, RunnerOptions};
use counterfoil_consumers::news::NewsSources;
use counterfoil_consumers::projector::{Projector, ProjectorOptions, ProjectorParts};
use counterfoil_consumers::subscriptions::Subscriptions;
use counterfoil_consumers::sweeper::{Sweep, Sweeper};
use counterfoil_events::agent::key::KeyPepper;
use counterfoil_events::backbone::{
    Backbone, BackboneOptions, BackboneStatus, HeadWatch, Relay, RelayOptions, RelayParts, StreamPrefix,
    StreamSettings, WakeSender,
};
use counterfoil_events::ledger::{Database, KeyJanitor, LogReader, Sequencer, SequencerOptions};
use counterfoil_events::security::{SecurityState, SecurityTail, TailParts};
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::SystemClock;

use super::ServeError;
use super::health::Health;
use crate::audit::{HeadNoteLoop, HeadNotes};
use crate::commands::Commands;
use crate::config::{Config, KriConfig, NatsConfig, Role};
use crate::gateway::catalogue::Catalogue;
use crate::gateway::directory::AgentKeys;
use crate::gateway::recorder::Recorder;
use crate::gateway::security::SecurityDirectory;
use crate::gateway::{Gateway, Services};
use crate::http::agent::Agents;
use crate::http::api::{self, Api};
use crate::http::events::Events;
use crate::http::kri::Kris;
use crate::http::policy::Policies;
use crate::http::queries::Queries;
use crate::http::route::State;
use crate::http::{Authenticators, BootstrapToken, Dispatcher, Lifecycle, Readiness};
use crate::kri::Connectors;
use crate::kri::config::FetchConfig;
use crate::kri::platform::PlatformFigures;
use crate::limits::{KeptAnswers, Rate, RedisLink, RequestLimiter};
use crate::policy::PolicyEngine;
use crate::signing::{self, KeyFile};

/// How often the heads are looked at, besides the notices of commits.
const HEAD_POLL: Duration = Duration::from_millis(250);
/// How often tenants that moved get a head note: what was cut off later than this shows.
const HEAD_NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// The parts of a running process.
pub struct Parts {
    /// All commands.
    pub commands: Arc<Commands>,
    /// All connections to Postgres.
    pub database: Database,
    /// How the parts are.
    pub readiness: Readiness,
    connectors: Arc<Connectors<PlatformFigures>>,
    fetch: FetchConfig,
    runner: Option<KriRunner>,
    sweeper: Option<Sweeper>,
    projector: Option<Projector>,
    engine: Arc<PolicyEngine>,
    pepper: Arc<KeyPepper>,
    directory: Arc<SecurityDirectory>,
    gateway: Gateway,
    events: Events,
    tail: SecurityTail,
    head_notes: Option<HeadNoteLoop>,
    janitor: Option<KeyJanitor>,
    heads: HeadWatch,
    relays: Vec<Relay>,
    wake: WakeSender,
    health: Health,
}

impl Parts {
    pub(super) async fn start(config: &Config, lifecycle: &Lifecycle) -> Result<Self, ServeError> {
        let database = Database::new(&config.postgres.database_options());
        database.check_durability().await?;
        let key = KeyFile::new(&config.signing.key_file).current()?;
        let pepper = KeyPepper::new(*signing::load_secret(&config.auth.key_pepper_file)?);
        let sequencer = Sequencer::new(
            database.clone(),
            key,
            Arc::new(SystemClock),
            SequencerOptions::default(),
        );
        let commands = Arc::new(Commands::new(sequencer.clone(), config.nats.partitions));
        let engine = PolicyEngine::start(&config.policy).map_err(|source| ServeError::Io {
            what: "starting the policy engine".to_owned(),
            source,
        })?;

        let backbone = Backbone::connect(backbone_options(&config.nats).await?).await?;
        let heads = HeadWatch::start(LogReader::new(database.log().clone()), HEAD_POLL);
        let status = BackboneStatus::default();
        let wake = WakeSender::start(backbone.clone(), sequencer.subscribe(), heads.reader());
        let relays = match config.roles.has(Role::Relay) {
            true => start_relays(
                config.nats.partitions,
                &backbone,
                &database,
                &heads,
                &sequencer,
                &status,
            ),
            false => Vec::new(),
        };
        let connectors = Arc::new(Connectors::new(
            &config.kri.fetch,
            PlatformFigures::new(database.log().clone()),
        ));
        let runner = config.roles.has(Role::Runner).then(|| {
            KriRunner::start(
                sequencer.clone(),
                heads.reader(),
                Arc::clone(&connectors),
                runner_options(&config.kri),
            )
        });
        let sweeper = config
            .roles
            .has(Role::Runner)
            .then(|| Sweeper::start(Sweep::new(sequencer.clone(), &database)));
        let projector = config.roles.has(Role::Consumers).then(|| {
            let parts = ProjectorParts {
                database: database.clone(),
                heads: heads.reader(),
                notices: sequencer.subscribe(),
                hints: Some((backbone.clone(), config.nats.partitions)),
            };
            Projector::start(counterfoil_projections::all(), parts, ProjectorOptions::default())
        });
        let readiness = Readiness::new();
        let pepper = Arc::new(pepper);
        let security = SecurityState::default();
        let tail = SecurityTail::start(
            security.clone(),
            TailParts {
                database: database.clone(),
                heads: heads.reader(),
                notices: Some(sequencer.subscribe()),
            },
        );
        let engine = Arc::new(engine);
        let directory = Arc::new(SecurityDirectory::new(security.clone(), Arc::clone(&pepper)));
        let gateway = gateway(
            config,
            lifecycle,
            &readiness,
            &commands,
            &engine,
            Arc::clone(&directory),
        )?;
        let head_notes = config.roles.has(Role::Relay).then(|| {
            let key = sequencer.key().clone();
            let notes = HeadNotes::new(database.log().clone(), key, Arc::new(SystemClock));
            HeadNoteLoop::start(notes, Some(backbone.clone()), HEAD_NOTE_INTERVAL)
        });
        let keeps_house = config.roles.has(Role::Relay);
        let janitor = keeps_house.then(|| KeyJanitor::start(database.log().clone()));
        let sources = NewsSources {
            heads: heads.reader(),
            notices: sequencer.subscribe(),
            hints: Some((backbone.clone(), config.nats.partitions)),
        };
        let events = Events {
            subscriptions: Subscriptions::start(database.clone(), sources, config.subscriptions.options()),
            security: security.clone(),
        };
        let health = Health::start(
            &readiness,
            database.clone(),
            backbone,
            status,
            security,
            config.roles.has(Role::Relay),
            projector.as_ref().map(|projector| projector.status().clone()),
        );
        Ok(Self {
            commands,
            database,
            readiness,
            connectors,
            fetch: config.kri.fetch.clone(),
            runner,
            sweeper,
            projector,
            engine,
            pepper,
            directory,
            gateway,
            events,
            tail,
            head_notes,
            janitor,
            heads,
            relays,
            wake,
            health,
        })
    }

    /// What answers requests: the whole API with the `api` role, else how the process is and nothing more.
    pub(super) fn dispatcher(
        &self,
        config: &Config,
        lifecycle: &Lifecycle,
    ) -> Result<Dispatcher, ServeError> {
        let (table, authenticators) = match config.roles.has(Role::Api) {
            true => (api::table(&self.api())?, self.authenticators(config)?),
            false => {
                let readiness = State::new(self.readiness.clone());
                (api::health_table(&readiness)?, Authenticators::new())
            }
        };
        Ok(Dispatcher::new(
            table,
            authenticators,
            lifecycle.clone(),
            config.http.intake_limits(),
        ))
    }

    fn authenticators(&self, config: &Config) -> Result<Authenticators, ServeError> {
        let token = config.auth.bootstrap_token.as_ref();
        let token = token.ok_or(ServeError::NoBootstrapToken)?;
        Ok(Authenticators::new()
            .with(BootstrapToken::new(token))
            .with(AgentKeys(self.directory.clone())))
    }

    fn api(&self) -> Api {
        let commands = Arc::clone(&self.commands);
        Api {
            readiness: State::new(self.readiness.clone()),
            commands: State::new(Arc::clone(&commands)),
            agents: State::new(Agents {
                commands: Arc::clone(&commands),
                pepper: Arc::clone(&self.pepper),
            }),
            policies: State::new(Policies {
                commands: Arc::clone(&commands),
                engine: Arc::clone(&self.engine),
            }),
            kris: State::new(Kris {
                commands,
                connectors: Arc::clone(&self.connectors),
                fetch: self.fetch.clone(),
            }),
            gateway: State::new(self.gateway.clone()),
            events: State::new(self.events.clone()),
            queries: State::new(Arc::new(Queries {
                database: self.database.clone(),
            })),
        }
    }

    pub(super) async fn stop(self) {
        self.health.stop().await;
        self.events.subscriptions.stop().await;
        if let Some(runner) = self.runner {
            runner.stop().await;
        }
        if let Some(sweeper) = self.sweeper {
            sweeper.stop().await;
        }
        if let Some(projector) = self.projector {
            projector.stop().await;
        }
        if let Some(head_notes) = self.head_notes {
            head_notes.stop().await;
        }
        if let Some(janitor) = self.janitor {
            janitor.stop().await;
        }
        self.tail.stop().await;
        for relay in self.relays {
            relay.stop().await;
        }
        self.wake.stop().await;
        self.heads.stop().await;
        self.commands.sequencer.stop().await;
        self.database.close().await;
    }
}

fn start_relays(
    partitions: u32,
    backbone: &Backbone,
    database: &Database,
    heads: &HeadWatch,
    sequencer: &Sequencer,
    status: &BackboneStatus,
) -> Vec<Relay> {
    let parts = || RelayParts {
        backbone: backbone.clone(),
        database: database.clone(),
        heads: heads.reader(),
        notices: sequencer.subscribe(),
        status: status.clone(),
    };
    (0..partitions)
        .map(|partition| Relay::start(partition, parts(), RelayOptions::default()))
        .collect()
}

/// What completions stand on.
fn gateway(
    config: &Config,
    lifecycle: &Lifecycle,
    readiness: &Readiness,
    commands: &Arc<Commands>,
    engine: &Arc<PolicyEngine>,
    directory: Arc<SecurityDirectory>,
) -> Result<Gateway, ServeError> {
    let other = |error: &dyn std::fmt::Display| ServeError::Other(error.to_string());
    let link = RedisLink::keep(&config.redis, lifecycle, readiness.optional("redis"))
        .map_err(|error| other(&error))?;
    Ok(Gateway(Arc::new(Services {
        directory,
        policy: Arc::clone(engine),
        log: Arc::new(Recorder::new(Arc::clone(commands))),
        catalogue: Catalogue::from_config(&config.gateway).map_err(|error| other(&error))?,
        limiter: Arc::new(RequestLimiter::new(
            link.clone(),
            config.limits.memory_entries_max,
        )),
        rate: Rate::per_minute(config.limits.requests_per_minute, config.limits.burst_requests),
        kept: Arc::new(KeptAnswers::new(link, &config.limits)),
        clock: Arc::new(SystemClock),
    })))
}

/// This process's runner: named so that the log tells runners apart.
fn runner_options(config: &KriConfig) -> RunnerOptions {
    let name = format!("runner-{}", uuid::Uuid::now_v7().simple());
    RunnerOptions {
        // Lower-case letters, digits and `-`, 39 characters: always a code.
        name: name.parse().unwrap_or(Code::literal("runner")),
        concurrent_runs: config.concurrent_runs,
        lease: Duration::from_secs(config.lease_s),
    }
}

/// The backbone's options from the configuration.
///
/// # Errors
/// When the prefix cannot be one, or the credentials file cannot be read.
pub async fn backbone_options(config: &NatsConfig) -> Result<BackboneOptions, ServeError> {
    let connect = config.connect_options().await.map_err(|source| ServeError::Io {
        what: "reading nats.credentials_file".to_owned(),
        source,
    })?;
    Ok(BackboneOptions {
        servers: config.servers().into_iter().map(str::to_owned).collect(),
        connect,
        prefix: StreamPrefix::new(&config.prefix)?,
        settings: StreamSettings {
            max_age: Duration::from_secs(config.stream_max_age_s),
            max_bytes: config.stream_max_bytes,
            duplicate_window: Duration::from_secs(config.stream_duplicate_window_s),
            replicas: config.stream_replicas,
        },
    })
}
