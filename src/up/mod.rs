//! `counterfoil up`: private servers, `init` and `serve` in one process, for development and first looks.
//!
//! 1. the servers (`stack`) under the data directory, and unless another KMS is configured, a key process among them,
//! 2. a configuration that points at them, with credentials that are made once and kept (0600),
//! 3. `init`,
//! 4. `serve`.
//!
//! A second `up` finds all of it again. The bootstrap token is printed, and the first signing key's fingerprint: that
//! is what an auditor is given.

mod access;
mod at_rest;
mod config_file;
mod private_file;

use std::path::{Path, PathBuf};

use counterfoil_events::ids::Fingerprint;
use secrecy::SecretString;
use tokio::time::{Duration, Instant, sleep};

use crate::config::Config;
use crate::http::health::Health;
use crate::init::{InitError, initialise};
use crate::serve::{Process, ServeError};
use crate::stack::{Endpoints, Stack, StackConfig, StackError};
pub use access::{Access, AccessError};
pub use at_rest::secrets_at_rest;
pub use config_file::path as config_file;

/// Where its own log lies, beside those of its servers.
#[must_use]
pub fn log_file(data: &Path) -> PathBuf {
    data.join("logs").join("counterfoil.log")
}

/// Longest that `up` waits for everything to work before it says that it is up.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// It cannot start.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The private servers.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The key process runs by our own program.
    #[error("finding our own program, for the key process: {0}")]
    OwnProgram(std::io::Error),
    /// The kept credentials.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Schema, keys, streams.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The process itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A running installation.
pub struct Up {
    /// The private servers.
    pub stack: Stack,
    /// The platform on them.
    pub process: Process,
    /// By which it is administered.
    pub token: SecretString,
    /// What an auditor is given.
    pub fingerprint: Fingerprint,
    /// The configuration in force.
    pub config: Config,
}

impl Up {
    /// Starts everything under `data`; `config` says the rest (address, upstreams, limits).
    ///
    /// # Errors
    /// See [`UpError`]; what was started is ended again.
    pub async fn start(data: PathBuf, config: Config) -> Result<Self, UpError> {
        let Servers { stack, mut config } = Servers::start(data, config).await?;
        let started = async {
            let fingerprint = initialise(&config).await?;
            let process = Process::start(&config).await?;
            Ok::<_, UpError>((fingerprint, process))
        };
        let (fingerprint, process) = match started.await {
            Ok(started) => started,
            Err(error) => {
                stack.stop().await;
                return Err(error);
            }
        };
        settle(&process).await;
        config.http.address = process.address();
        let up = Self {
            token: config.auth.bootstrap_token.clone().unwrap_or_default(),
            stack,
            process,
            fingerprint,
            config,
        };
        match config_file::write(up.stack.data_dir(), &up.config) {
            Ok(()) => Ok(up),
            Err(error) => {
                up.stop().await;
                Err(error.into())
            }
        }
    }

    /// Ends everything in order.
    pub async fn stop(self) {
        self.process.stop().await;
        self.stack.stop().await;
    }
}

/// Waits until everything works, so that whoever is told that it is up can go on at once; for a moment only, since a
/// large log may keep the read models busy, and `status` says so.
async fn settle(process: &Process) {
    let readiness = &process.parts().readiness;
    let deadline = Instant::now() + SETTLE_MAX;
    // These say on purpose that something is to be done, and stay so.
    let told = ["local_issuer", "bootstrap_token"];
    let unwell = || {
        let components = readiness.components();
        let mut others = components.iter().filter(|(name, _)| !told.contains(*name));
        others.any(|(_, component)| component.health != Health::Ok)
    };
    while unwell() && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
}

/// The private servers alone, and the configuration of whoever works on them: what `up`, `backup` and `restore` begin
/// with.
pub struct Servers {
    /// They run until they are stopped.
    pub stack: Stack,
    /// With every login there is.
    pub config: Config,
}

impl Servers {
    /// Starts them under `data`, making what is not there; `config` says the rest.
    ///
    /// # Errors
    /// When they do not start, or their credentials cannot be kept.
    pub async fn start(data: PathBuf, config: Config) -> Result<Self, UpError> {
        let mut servers = StackConfig::new(data);
        if !config.vault.has_kms() {
            let ours = std::env::current_exe().map_err(UpError::OwnProgram)?;
            servers.key_process = Some(ours);
        }
        let stack = Stack::start(servers).await?;
        match Access::load_or_create(stack.data_dir()) {
            Ok(access) => {
                let config = on_stack(config, stack.data_dir(), stack.endpoints(), &access);
                Ok(Self { stack, config })
            }
            Err(error) => {
                stack.stop().await;
                Err(error.into())
            }
        }
    }
}

/// The configuration with the private servers and the kept credentials in it.
fn on_stack(mut config: Config, data: &Path, endpoints: &Endpoints, access: &Access) -> Config {
    let postgres = &mut config.postgres;
    postgres.host = endpoints.host.to_owned();
    postgres.port = endpoints.postgres_port;
    // Loopback, to a server that we started ourselves.
    postgres.tls = crate::config::TlsMode::Disable;
    postgres.admin_user = Some(endpoints.postgres_superuser.to_owned());
    postgres.admin_password = Some(endpoints.postgres_password.clone());
    let role = |password: &SecretString| Some(password.clone());
    postgres.owner_password = role(&access.owner_password);
    postgres.app_password = role(&access.app_password);
    postgres.reader_password = role(&access.reader_password);
    postgres.log_password = role(&access.log_password);
    postgres.projector_password = role(&access.projector_password);
    config.nats.url = endpoints.nats_url.clone();
    config.nats.user = Some(endpoints.nats_user.to_owned());
    config.nats.password = Some(endpoints.nats_password.clone());
    config.nats.callout_key = Some(endpoints.nats_callout_key.clone());
    config.redis.url = Some(endpoints.redis_url.clone());
    if config.gateway.upstreams.is_empty() {
        // Somebody must answer; this provider says in every answer that it is none.
        config.gateway.demo_provider = true;
    }
    if endpoints.kms_socket.is_some() {
        config.vault.socket.clone_from(&endpoints.kms_socket);
    }
    config.signing.key_file = at_rest::signing_key(data);
    config.auth.key_pepper_file = at_rest::pepper(data);
    config
        .auth
        .bootstrap_token
        .get_or_insert_with(|| access.bootstrap_token.clone());
    config
}
