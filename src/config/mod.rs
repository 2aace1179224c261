//! Configuration: defaults → `counterfoil.toml` → `COUNTERFOIL_…` → flags, later ones win.
//!
//! One struct per concern; units stand in the names; an unknown key is an error, not a silent default; secrets
//! are wrapped and never printed. `load` reads and `validate`s: the error lists every key that is out of its
//! limits, with the limits. In the environment a double underscore nests: `COUNTERFOIL_HTTP__ADDRESS`.

mod auth;
mod check;
mod environment;
mod flag;
mod gateway;
mod http;
mod kri;
mod limits;
mod nats;
mod origin;
mod policy;
mod postgres;
mod redis;
mod roles;
mod sessions;
mod signing;
mod subscriptions;
mod telemetry;
#[cfg(test)]
mod tests;
mod vault;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::Value;
use serde::Deserialize;

pub use auth::{AuthConfig, IssuersConfig, LocalIssuerConfig};
use check::Checks;
pub use check::Violation;
use environment::Environment;
use flag::Flag;
pub use gateway::{GatewayConfig, MaxTokensField, ModelConfig, UpstreamConfig};
pub use http::HttpConfig;
pub use kri::KriConfig;
pub use limits::{CompletionRates, LimitsConfig};
pub use nats::NatsConfig;
pub use origin::OriginConfig;
pub use policy::PolicyConfig;
pub use postgres::{PostgresConfig, PostgresRole, TlsMode};
pub use redis::RedisConfig;
pub use roles::{Role, RolesConfig};
pub use sessions::SessionsConfig;
pub use signing::SigningConfig;
pub use subscriptions::SubscriptionsConfig;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use vault::VaultConfig;

/// The file that is read from the working directory when none is named.
pub const DEFAULT_FILE: &str = "counterfoil.toml";

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub http: HttpConfig,
    /// Proof that requests come through the edge.
    pub origin: OriginConfig,
    /// Who administers.
    pub auth: AuthConfig,
    /// The ledger's database.
    pub postgres: PostgresConfig,
    /// The backbone.
    pub nats: NatsConfig,
    /// Counters and kept answers.
    pub redis: RedisConfig,
    /// Models, their providers and prices.
    pub gateway: GatewayConfig,
    /// Sources of key risk indicators.
    pub kri: KriConfig,
    /// The engine that evaluates policies.
    pub policy: PolicyConfig,
    /// The key that signs events.
    pub signing: SigningConfig,
    /// Sessions of people at a browser.
    pub sessions: SessionsConfig,
    /// How many requests may come.
    pub limits: LimitsConfig,
    /// Event streams.
    pub subscriptions: SubscriptionsConfig,
    /// What this process does.
    pub roles: RolesConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// The KMS that secrets are sealed under.
    pub vault: VaultConfig,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there.
    #[error("configuration file {0} does not exist")]
    NoFile(PathBuf),
    /// Nothing that `up` keeps is in its data directory.
    #[error("{0} does not exist: `counterfoil up` makes it in its data directory (--data)")]
    NoInstallation(PathBuf),
    /// It cannot be read: syntax, an unknown key, a wrong type.
    #[error("configuration: {0}")]
    Unreadable(Box<figment::Error>),
    /// Keys that are outside their limits, all of them.
    #[error("configuration is refused:{}", list(.0))]
    OutOfLimits(Vec<Violation>),
}

fn list(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|violation| format!("\n  {violation}"))
        .collect()
}

/// Where the configuration comes from.
#[derive(Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    installation: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<(String, Value)>,
}

impl Sources {
    /// The usual ones: `counterfoil.toml` if it is there, and this process's environment.
    #[must_use]
    pub fn of_process() -> Self {
        // What is not Unicode cannot be a value of ours.
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((key.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            environment: std::env::vars_os().filter_map(text).collect(),
            ..Self::default()
        }
    }

    /// Names the file; it must be there.
    #[must_use]
    pub fn file(mut self, path: Option<PathBuf>) -> Self {
        self.file = path;
        self
    }

    /// The file that `up` keeps in its data directory, on top of the other one: servers, passwords, keys.
    #[must_use]
    pub fn installation(mut self, path: Option<PathBuf>) -> Self {
        self.installation = path;
        self
    }

    /// Whether a file is named, or lies where it is looked for.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.file.is_some() || Path::new(DEFAULT_FILE).is_file()
    }

    /// These variables instead of the process's.
    #[must_use]
    pub fn environment(mut self, variables: Vec<(String, String)>) -> Self {
        self.environment = variables;
        self
    }

    /// A flag: it wins over everything else. `key` is dotted, such as `http.address`.
    #[must_use]
    pub fn flag(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.flags.push((key.to_owned(), value.into()));
        self
    }

    /// A flag whose value is a text that still has to be read, as in the environment.
    #[must_use]
    pub fn flag_text(self, key: &str, text: &str) -> Self {
        self.flag(key, environment::value(key, text))
    }
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = file_to_read(sources.file)? {
            figment = figment.merge(Toml::file_exact(path));
        }
        if let Some(path) = sources.installation {
            if !path.is_file() {
                return Err(ConfigError::NoInstallation(path));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(Environment::new(sources.environment));
        for (key, value) in sources.flags {
            figment = figment.merge(Flag(key, value));
        }
        let config: Self = figment
            .extract()
            .map_err(|error| ConfigError::Unreadable(Box::new(error)))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks the limits of every value.
    ///
    /// # Errors
    /// All violations, each naming key and limit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checks = Checks::default();
        self.http.check(&mut checks);
        self.origin.check(&mut checks);
        self.auth.check(self.http.address, &mut checks);
        self.postgres.check(&mut checks);
        self.nats.check(&mut checks);
        self.redis.check(&mut checks);
        self.gateway.check(&mut checks);
        self.kri.check(&mut checks);
        self.policy.check(&mut checks);
        self.sessions.check(&mut checks, self.http.address);
        self.limits.check(&mut checks);
        self.subscriptions.check(&mut checks);
        self.roles.check(&mut checks);
        self.telemetry.check(&mut checks);
        self.vault.check(&mut checks);
        match checks.violations() {
            violations if violations.is_empty() => Ok(()),
            violations => Err(ConfigError::OutOfLimits(violations)),
        }
    }
}

fn file_to_read(named: Option<PathBuf>) -> Result<Option<PathBuf>, ConfigError> {
    match named {
        Some(path) if path.is_file() => Ok(Some(path)),
        Some(path) => Err(ConfigError::NoFile(path)),
        // Only this directory's: a file further up was not meant for this process.
        None => Ok(Some(Path::new(DEFAULT_FILE))
            .filter(|path| path.is_file())
            .map(Path::to_owned)),
    }
}
