//! The private servers of a run, and installations on them: each a database and a stream prefix of its own, made as
//! `counterfoil init` makes them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use counterfoil::commands::Commands;
use counterfoil::config::{Config, Sources};
use counterfoil::init::initialise;
use counterfoil::signing::KeyFile;
use counterfoil::stack::{Stack, StackConfig};
use counterfoil_events::command::{CommandContext, Extras, Target};
use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::ledger::{Database, NewHead, Sequencer, SequencerOptions};
use counterfoil_events::tenant::TenantCommand;
use counterfoil_events::timestamp::SystemClock;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::workload;

/// By which the installations of a run are administered. The servers listen on loopback and live as long as the run.
pub const TOKEN: &str = "cft_only-for-benchmarks-0123456789";

/// Private servers in a temporary directory, which goes with this value.
pub struct Site {
    stack: Stack,
    directory: tempfile::TempDir,
    made: AtomicU32,
}

impl Site {
    pub async fn start() -> anyhow::Result<Self> {
        eprintln!("bench: starting private servers");
        let directory = tempfile::Builder::new().prefix("counterfoil-bench-").tempdir()?;
        // Root's Postgres runs as another user, who must get through.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let mut servers = StackConfig::new(directory.path().join("data"));
        servers.key_process = Some(env!("CARGO_BIN_EXE_counterfoil").into());
        let stack = Stack::start(servers).await?;
        Ok(Self {
            stack,
            directory,
            made: AtomicU32::new(0),
        })
    }

    /// A superuser's login.
    pub fn admin(&self) -> PgConnectOptions {
        self.stack.endpoints().postgres_admin()
    }

    /// An installation with nothing in it; `more` goes into its configuration file.
    pub async fn installation(&self, more: &str) -> anyhow::Result<Installation> {
        let name = format!("bench_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let file = self.directory.path().join(format!("{name}.toml"));
        std::fs::write(&file, self.settings(&name) + more)?;
        let config = Config::load(Sources::default().file(Some(file.clone())))?;
        let fingerprint = initialise(&config).await?;
        let admin = self.admin();
        Ok(Installation {
            engine: Engine::start(&config).await?,
            config,
            file,
            name,
            admin,
            fingerprint,
        })
    }

    /// An empty database beside the installations, for a peer.
    pub async fn peer_database(&self) -> anyhow::Result<PgConnectOptions> {
        let name = format!("peer_{}", self.made.fetch_add(1, Ordering::Relaxed));
        execute(&self.admin(), format!("CREATE DATABASE {name}")).await?;
        Ok(self.admin().database(&name))
    }

    fn settings(&self, name: &str) -> String {
        let servers = self.stack.endpoints();
        let directory = self.directory.path().display();
        let socket = servers.kms_socket.as_deref().unwrap_or(Path::new("")).display();
        let password = servers.postgres_password.expose_secret();
        let nats_password = servers.nats_password.expose_secret();
        format!(
            r#"
http.address = "127.0.0.1:0"
auth.bootstrap_token = "{TOKEN}"
auth.key_pepper_file = "{directory}/pepper"
signing.key_file = "{directory}/{name}.key"
vault.socket = "{socket}"
postgres.host = "{}"
postgres.port = {}
postgres.database = "{name}"
postgres.tls = "disable"
postgres.admin_user = "{}"
postgres.admin_password = "{password}"
postgres.owner_password = "bench"
postgres.app_password = "bench"
postgres.reader_password = "bench"
postgres.log_password = "bench"
postgres.projector_password = "bench"
nats.url = "{}"
nats.user = "{}"
nats.password = "{nats_password}"
nats.prefix = "{name}"
nats.stream_max_bytes = 536870912
redis.url = "{}"
limits.requests_per_minute = 6000000
limits.agent_requests_per_minute = 0
limits.tenant_requests_per_minute = 0
limits.commands_per_minute = 0
limits.burst_requests = 100000
telemetry.log_filter = "warn"
"#,
            servers.host,
            servers.postgres_port,
            servers.postgres_superuser,
            servers.nats_url,
            servers.nats_user,
            servers.redis_url.expose_secret(),
        )
    }

    /// Ends the servers and removes what they wrote.
    pub async fn stop(self) {
        self.stack.stop().await;
    }
}

/// The command path of one process on an installation.
pub struct Engine {
    pub database: Database,
    pub commands: Arc<Commands>,
}

impl Engine {
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let database = Database::new(&config.postgres.database_options());
        let signer = Arc::new(KeyFile::configured(config)?.load().await?);
        let clock = Arc::new(SystemClock);
        let sequencer = Sequencer::new(database.clone(), signer, clock, SequencerOptions::default());
        Ok(Self {
            commands: Arc::new(Commands::new(sequencer, config.nats.partitions)),
            database,
        })
    }

    pub async fn stop(self) {
        self.commands.sequencer.stop().await;
        self.database.close().await;
    }
}

/// A database with our schema, a stream prefix, and a command path on it.
pub struct Installation {
    pub config: Config,
    /// The configuration as a file, for other processes.
    pub file: PathBuf,
    pub engine: Engine,
    pub fingerprint: counterfoil_events::ids::Fingerprint,
    name: String,
    admin: PgConnectOptions,
}

impl Installation {
    /// A superuser's login to its database.
    pub fn admin(&self) -> PgConnectOptions {
        self.admin.clone().database(&self.name)
    }

    /// Makes tenants.
    pub async fn tenants(&self, count: usize) -> anyhow::Result<Vec<TenantId>> {
        let mut tenants = Vec::with_capacity(count);
        for _ in 0..count {
            let tenant = TenantId::generate();
            let command = TenantCommand::Create {
                organisation: OrganisationId::generate(),
                name: "Bench".parse().context("a name")?,
                home: false,
            };
            let heads = Extras {
                new_heads: vec![NewHead { tenant, partition: 0 }],
                ..Extras::default()
            };
            let context = CommandContext {
                idempotency: None,
                ..workload::context(TenantId::PLATFORM)
            };
            let target = Target::New(tenant.to_string());
            self.engine
                .commands
                .tenants
                .execute(&context, target, command, heads)
                .await?;
            tenants.push(tenant);
        }
        Ok(tenants)
    }

    /// The mean size of the envelopes of a tenant's log.
    pub async fn mean_bytes(&self, tenant: TenantId) -> anyhow::Result<f64> {
        let mean = "SELECT avg(octet_length(envelope))::float8 FROM counterfoil.events WHERE tenant_id = $1";
        Ok(sqlx::query_scalar(mean)
            .bind(tenant.0)
            .fetch_one(self.engine.database.log())
            .await?)
    }

    /// Ends its command path and drops its database.
    pub async fn end(self) -> anyhow::Result<()> {
        self.engine.stop().await;
        execute(&self.admin, format!("DROP DATABASE {} WITH (FORCE)", self.name)).await
    }
}

/// Runs a statement that cannot have parameters; the names in it are ours.
pub async fn execute(login: &PgConnectOptions, statement: String) -> anyhow::Result<()> {
    let mut connection = login.clone().connect().await?;
    sqlx::raw_sql(&statement).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
