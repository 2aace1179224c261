//! What requests are answered by: the security state that tells callers apart, the policy engine, the gateway, the
//! streams of events.
//!
//! Started in every process: `/ready` tells of the same components wherever it is asked. Without the role `api`,
//! [`dispatcher`](ApiRole::dispatcher) gives only that away.

use std::sync::Arc;
use std::time::Instant;

use counterfoil_consumers::subscriptions::Subscriptions;
use counterfoil_events::agent::key::KeyPepper;
use counterfoil_events::background::{Background, stop_all};
use counterfoil_events::fair_places::FairPlaces;
use counterfoil_events::issuer::IssuerUrl;
use counterfoil_events::security::{SecurityState, TailParts, keep_at_the_head};
use counterfoil_projections::engine::{MAX_WAITING, WaitingRoom};
use futures::FutureExt;

use super::ServeError;
use super::basis::Basis;
use crate::commands::Commands;
use crate::config::{Config, Role};
use crate::erasure::Erasure;
use crate::gateway::catalogue::Catalogue;
use crate::gateway::directory::AgentKeys;
use crate::gateway::recorder::Recorder;
use crate::gateway::security::SecurityDirectory;
use crate::gateway::{Gateway, Services};
use crate::http::agent::Agents;
use crate::http::api::{self, Api};
use crate::http::events::Events;
use crate::http::issuer::Issuers;
use crate::http::kri::{Kris, TESTS_MAX};
use crate::http::organisation::Registers;
use crate::http::policy::Policies;
use crate::http::queries::Queries;
use crate::http::route::State;
use crate::http::secret::SecretRoutes;
use crate::http::session::{SessionGate, SessionRoutes};
use crate::http::subscriber::SubscriberRoutes;
use crate::http::tenant::end::TenantEnds;
use crate::http::user::Users;
use crate::http::{Authenticators, BootstrapToken, Dispatcher, Guard, Lifecycle, Readiness};
use crate::identity::{OnRecord, UserTokens};
use crate::issuer::cache::{self, IssuerKeys};
use crate::issuer::documents::{self, Documents};
use crate::issuer::local;
use crate::issuer::sign_in::SignIn;
use crate::issuer::subjects::Subjects;
use crate::kri::credential::Credentials;
use crate::limits::{KeptAnswers, LastUses, RedisLink, RequestLimiter};
use crate::policy::PolicyEngine;
use crate::session::{SessionStore, Sessions};
use crate::signing;
use crate::subscriber::{CalloutParts, answer_logins};
use crate::vault::Secrets;
use crate::vault::kms::watched::WatchedKms;
use crate::vault::renewal;

/// What can be wrong with the API's configuration, found out before anything is started.
pub(super) struct Means {
    pepper: Arc<KeyPepper>,
    engine: Arc<PolicyEngine>,
    catalogue: Catalogue,
    redis: RedisLink,
    kms: Arc<WatchedKms>,
    documents: Documents,
}

impl Means {
    pub(super) async fn prepare(
        config: &Config,
        lifecycle: &Lifecycle,
        readiness: &Readiness,
        kms: Arc<WatchedKms>,
    ) -> Result<Self, ServeError> {
        let other = |error: &dyn std::fmt::Display| ServeError::Other(error.to_string());
        let pepper = KeyPepper::new(*signing::load_secret(&config.auth.key_pepper_file)?);
        let catalogue = Catalogue::from_config(&config.gateway).map_err(|error| other(&error))?;
        let engine = PolicyEngine::start(&config.policy).map_err(|source| ServeError::Io {
            what: "starting the policy engine".to_owned(),
            source,
        })?;
        let redis = RedisLink::keep(&config.redis, lifecycle, readiness.optional("redis"))
            .map_err(|error| other(&error))?;
        let documents = documents(config, lifecycle, readiness)
            .await
            .map_err(|error| other(&error))?;
        Ok(Self {
            pepper: Arc::new(pepper),
            engine: Arc::new(engine),
            catalogue,
            redis,
            kms,
            documents,
        })
    }
}

/// How issuers are fetched; the local one too, which is started here if it is configured.
async fn documents(
    config: &Config,
    lifecycle: &Lifecycle,
    readiness: &Readiness,
) -> Result<Documents, Box<dyn std::error::Error + Send + Sync>> {
    let mut allowed = config.auth.issuers.allow_private.clone();
    if let Some(local) = config
        .auth
        .local_issuer
        .as_ref()
        .filter(|_| config.roles.has(Role::Api))
    {
        let component = readiness.optional("local_issuer");
        let address = local::start(local, lifecycle, &component).await?;
        allowed.push(documents::only(address)?);
    }
    Ok(Documents::new(allowed))
}

/// The parts of the role `api`.
pub(super) struct ApiRole {
    api: Api,
    security: SecurityState,
    directory: Arc<SecurityDirectory>,
    subscriptions: Subscriptions,
    waiting: Arc<WaitingRoom>,
    issuer_keys: Arc<IssuerKeys>,
    commands: Arc<Commands>,
    pepper: Arc<KeyPepper>,
    gate: Arc<SessionGate>,
    /// In the order of their start.
    loops: Vec<Background>,
}

impl ApiRole {
    pub(super) fn start(basis: &Basis, means: Means, config: &Config, readiness: &Readiness) -> Self {
        let security = SecurityState::default();
        let tail = follow(basis, &security);
        let options = config.subscriptions.options();
        let subscriptions = Subscriptions::start(basis.database.clone(), basis.news(), options);
        let pepper = Arc::clone(&means.pepper);
        let directory = Arc::new(SecurityDirectory::new(security.clone(), Arc::clone(&pepper)));
        let waiting = Arc::new(WaitingRoom::start(&basis.database, MAX_WAITING));
        let events = Events {
            subscriptions: subscriptions.clone(),
            security: security.clone(),
        };
        let secrets = Arc::clone(&basis.secrets);
        let gate = session_gate(basis, &means, config, &security);
        let callout = callout(basis, config, &security, &pepper);
        let subscribers = SubscriberRoutes {
            commands: Arc::clone(&basis.commands),
            pepper: Arc::clone(&pepper),
            backbone: basis.backbone.clone(),
            heads: basis.heads.reader(),
            answers_logins: callout.is_some(),
        };
        let issuer_keys = Arc::new(issuer_keys(means.documents.clone()));
        let loops = [
            tail,
            cache::renew_in_time(Arc::clone(&issuer_keys), security.clone()),
            renewal::renew_in_time(Arc::clone(&secrets), Arc::clone(&means.kms)),
        ];
        let api = Api {
            subscribers: State::new(subscribers),
            events: State::new(events),
            secrets: State::new(SecretRoutes {
                commands: Arc::clone(&basis.commands),
                secrets: Arc::clone(&secrets),
            }),
            ..of_people(
                basis,
                &means,
                &gate,
                &security,
                of_commands(basis, &means, config, readiness, &waiting, &security),
            )
        };
        let gateway = gateway(basis, means, config, Arc::clone(&directory), secrets, &security);
        Self {
            api: Api {
                gateway: State::new(gateway),
                ..api
            },
            security,
            directory,
            subscriptions,
            waiting,
            issuer_keys,
            commands: Arc::clone(&basis.commands),
            pepper,
            gate,
            loops: loops.into_iter().chain(callout).collect(),
        }
    }

    /// Who may do what, as the log says.
    pub(super) fn security(&self) -> SecurityState {
        self.security.clone()
    }

    pub(super) fn loops(&self) -> &[Background] {
        &self.loops
    }

    /// What answers requests: the whole API with the role, else how the process is and nothing more.
    pub(super) fn dispatcher(
        &self,
        config: &Config,
        lifecycle: &Lifecycle,
    ) -> Result<Dispatcher, ServeError> {
        let (table, authenticators) = match config.roles.has(Role::Api) {
            true => (api::table(&self.api)?, self.authenticators(config)),
            false => (api::health_table(&self.api.readiness)?, Authenticators::default()),
        };
        let limits = config.http.intake_limits();
        let dispatcher = Dispatcher::new(table, authenticators, lifecycle.clone(), limits);
        let security = self.security.clone();
        // A state too old to tell says nothing: proof is asked for.
        let open_until = move || {
            let known = security.freshness().may_answer();
            known.then(|| security.origin_open_until()).flatten()
        };
        Ok(dispatcher.guarded(Guard::new(config).origin_unless(Arc::new(open_until))))
    }

    fn authenticators(&self, config: &Config) -> Authenticators {
        let mut authenticators = Authenticators::new(self.security.clone())
            .recording(OnRecord(self.commands.clone()))
            .with_sessions(self.gate.clone());
        if let Some(token) = &config.auth.bootstrap_token {
            let token = BootstrapToken::new(token).until_closed(self.security.clone());
            authenticators = authenticators.with(token);
        }
        let keys = Arc::clone(&self.issuer_keys);
        authenticators
            .with(UserTokens::new(self.security.clone(), self.pepper.clone()))
            .with(AgentKeys(self.directory.clone()))
            .with(SignIn::new(self.security.clone(), self.pepper.clone(), keys))
    }

    pub(super) async fn stop(self) {
        self.waiting.stop().await;
        self.subscriptions.stop().await;
        stop_all(self.loops).await;
    }
}

/// The security state's loop.
fn follow(basis: &Basis, security: &SecurityState) -> Background {
    let tail = TailParts {
        database: basis.database.clone(),
        heads: basis.heads.reader(),
        notices: Some(basis.sequencer().subscribe()),
    };
    keep_at_the_head(security.clone(), tail)
}

/// What people are known, signed in and let in by, beside the rest of an API.
fn of_people(
    basis: &Basis,
    means: &Means,
    gate: &Arc<SessionGate>,
    security: &SecurityState,
    rest: Api,
) -> Api {
    let commands = || Arc::clone(&basis.commands);
    Api {
        sessions: State::new(SessionRoutes {
            commands: commands(),
            gate: Arc::clone(gate),
        }),
        users: State::new(Users {
            commands: commands(),
            pepper: Arc::clone(&means.pepper),
            security: security.clone(),
            subjects: subjects(basis, &means.pepper),
        }),
        issuers: State::new(Issuers {
            commands: commands(),
            security: security.clone(),
            documents: means.documents.clone(),
        }),
        ..rest
    }
}

/// What commands and queries are answered by; completions and event streams are not among them.
fn of_commands(
    basis: &Basis,
    means: &Means,
    config: &Config,
    readiness: &Readiness,
    waiting: &Arc<WaitingRoom>,
    security: &SecurityState,
) -> Api {
    let commands = || Arc::clone(&basis.commands);
    let registers = Registers {
        commands: commands(),
        security: security.clone(),
    };
    Api {
        readiness: State::new(readiness.clone()),
        commands: State::new(commands()),
        registers: State::new(registers.clone()),
        tenant_ends: State::new(TenantEnds {
            registers,
            erasure: Erasure::new(basis.database.clone(), subjects(basis, &means.pepper)),
        }),
        agents: State::new(Agents {
            commands: commands(),
            pepper: Arc::clone(&means.pepper),
            security: security.clone(),
        }),
        policies: State::new(Policies {
            commands: commands(),
            engine: Arc::clone(&means.engine),
            security: security.clone(),
        }),
        kris: State::new(Kris {
            commands: commands(),
            connectors: Arc::clone(&basis.connectors),
            fetch: config.kri.fetch.clone(),
            credentials: Credentials::new(Arc::clone(&basis.secrets)),
            security: security.clone(),
            tests: FairPlaces::new(TESTS_MAX.0, TESTS_MAX.1),
        }),
        queries: State::new(Arc::new(Queries {
            database: basis.database.clone(),
            waiting: Arc::clone(waiting),
            commands: commands(),
        })),
        ..Api::default()
    }
}

/// What answers the NATS server's question who may log in; only where the API is, whose commands issue credentials.
fn callout(
    basis: &Basis,
    config: &Config,
    security: &SecurityState,
    pepper: &Arc<KeyPepper>,
) -> Option<Background> {
    let key = config
        .nats
        .callout_key()
        .filter(|_| config.roles.has(Role::Api))?;
    Some(answer_logins(CalloutParts {
        backbone: basis.backbone.clone(),
        heads: basis.heads.reader(),
        security: security.clone(),
        pepper: Arc::clone(pepper),
        key,
    }))
}

/// What takes cookies of sessions.
fn session_gate(basis: &Basis, means: &Means, config: &Config, security: &SecurityState) -> Arc<SessionGate> {
    let idle = config.sessions.idle();
    let uses = LastUses::new(means.redis.clone(), idle, config.limits.memory_entries_max);
    let store = SessionStore::new(basis.database.clone());
    Arc::new(SessionGate {
        security: security.clone(),
        pepper: Arc::clone(&means.pepper),
        sessions: Arc::new(Sessions::new(store, uses, idle, security.postgres_time())),
        cookie: config.sessions.cookie(),
        origin: config.sessions.origin.clone(),
    })
}

/// Who signs in as whom.
fn subjects(basis: &Basis, pepper: &Arc<KeyPepper>) -> Subjects {
    let (database, commands) = (basis.database.clone(), Arc::clone(&basis.commands));
    Subjects::new(database, commands, Arc::clone(pepper))
}

/// The keys of issuers, each asked of the issuer itself.
fn issuer_keys(documents: Documents) -> IssuerKeys {
    let ask = move |url: IssuerUrl| {
        let documents = documents.clone();
        async move { documents.keys(&url).await }.boxed()
    };
    IssuerKeys::new(Arc::new(ask), Arc::new(Instant::now))
}

/// What completions are answered by.
fn gateway(
    basis: &Basis,
    means: Means,
    config: &Config,
    directory: Arc<SecurityDirectory>,
    secrets: Arc<Secrets>,
    security: &SecurityState,
) -> Gateway {
    let (limits, redis) = (&config.limits, || means.redis.clone());
    let limiter = RequestLimiter::new(redis(), limits.memory_entries_max);
    Gateway(Arc::new(Services {
        directory,
        policy: means.engine,
        log: Arc::new(Recorder::new(Arc::clone(&basis.commands))),
        catalogue: means.catalogue,
        limiter: Arc::new(limiter),
        rates: limits.completions(),
        kept: Arc::new(KeptAnswers::new(redis(), limits)),
        secrets: Some(secrets),
        // Keys expire by it.
        clock: security.postgres_time(),
    }))
}
