//! `[postgres]`: the database of the log, and one login per role (`deploy/sql/roles.sql`).

use std::path::PathBuf;

use counterfoil_events::ledger::{DatabaseOptions, PoolSizes, RoleLogin};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::check::Checks;

/// The ledger's database.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether statements are kept prepared; off where `host` is a pooler in transaction mode (such as PgBouncer).
    pub statement_cache: bool,
    /// The server itself, where `host` is a pooler: log, read models, `init` and tools connect to it.
    pub direct_host: Option<String>,
    /// Its port, where it is another than `port`.
    pub direct_port: Option<u16>,
    /// The database.
    pub database: String,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// Certificates that the server's is checked against; the system's if absent.
    pub tls_ca_file: Option<PathBuf>,
    /// An administrator's login, for `init` alone: it makes roles and database.
    pub admin_user: Option<String>,
    /// That login's password.
    pub admin_password: Option<SecretString>,
    /// Of `counterfoil_owner`, for `init` and `migrate` alone.
    pub owner_password: Option<SecretString>,
    /// Of `counterfoil_app`.
    pub app_password: Option<SecretString>,
    /// Of `counterfoil_reader`.
    pub reader_password: Option<SecretString>,
    /// Of `counterfoil_log`.
    pub log_password: Option<SecretString>,
    /// Of `counterfoil_projector`.
    pub projector_password: Option<SecretString>,
    /// Connections for requests.
    pub app_connections_max: u32,
    /// Connections for the sequencer and the readers of the log.
    pub log_connections_max: u32,
    /// Connections for projections.
    pub projector_connections_max: u32,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Not at all: for a server on this machine.
    Disable,
    /// Encrypted; the server is not checked.
    Require,
    /// Encrypted, and the server's certificate and name are checked.
    VerifyFull,
}

/// A role of the database. The names are fixed by `deploy/sql/roles.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresRole {
    /// Owns the schema.
    Owner,
    /// Requests, bound to a tenant.
    App,
    /// Auditors' tools, bound to a tenant.
    Reader,
    /// The log.
    Log,
    /// Read models.
    Projector,
}

impl PostgresRole {
    /// Its name in the cluster.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "counterfoil_owner",
            Self::App => "counterfoil_app",
            Self::Reader => "counterfoil_reader",
            Self::Log => "counterfoil_log",
            Self::Projector => "counterfoil_projector",
        }
    }
}

impl Default for PostgresConfig {
    fn default() -> Self {
        let sizes = PoolSizes::default();
        Self {
            host: "127.0.0.1".to_owned(),
            port: 5432,
            statement_cache: true,
            direct_host: None,
            direct_port: None,
            database: "counterfoil".to_owned(),
            tls: TlsMode::VerifyFull,
            tls_ca_file: None,
            admin_user: None,
            admin_password: None,
            owner_password: None,
            app_password: None,
            reader_password: None,
            log_password: None,
            projector_password: None,
            app_connections_max: sizes.app,
            log_connections_max: sizes.log,
            projector_connections_max: sizes.projector,
        }
    }
}

impl PostgresConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.require("postgres.host", !self.host.is_empty(), "must not be empty");
        checks.within("postgres.port", self.port, 1..=u16::MAX);
        self.check_pooler(checks);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let named = (1..=63).contains(&self.database.len()) && self.database.bytes().all(plain);
        checks.require(
            "postgres.database",
            named,
            "must be 1 to 63 letters, digits, `_` or `-`",
        );
        checks.within("postgres.app_connections_max", self.app_connections_max, 1..=1000);
        checks.within("postgres.log_connections_max", self.log_connections_max, 2..=1000);
        checks.within(
            "postgres.projector_connections_max",
            self.projector_connections_max,
            1..=1000,
        );
    }

    fn check_pooler(&self, checks: &mut Checks) {
        let named = self.direct_host.as_ref().is_none_or(|host| !host.is_empty());
        checks.require("postgres.direct_host", named, "must not be empty");
        checks.require(
            "postgres.direct_host",
            self.statement_cache || self.has_pooler(),
            "(or postgres.direct_port) must be set where postgres.statement_cache is off: log and read models hold \
             session locks, which a pooler in transaction mode would lend to others",
        );
        checks.require(
            "postgres.statement_cache",
            !(self.statement_cache && self.has_pooler()),
            "must be off where postgres.direct_host or postgres.direct_port is set: a pooler lends its sessions",
        );
        checks.within(
            "postgres.direct_port",
            self.direct_port.unwrap_or(1),
            1..=u16::MAX,
        );
    }

    fn has_pooler(&self) -> bool {
        self.direct_host.is_some() || self.direct_port.is_some()
    }

    /// Server, database and protection, without a login. Never the pooler.
    #[must_use]
    pub fn server(&self) -> PgConnectOptions {
        let host = self.direct_host.as_deref().unwrap_or(&self.host);
        self.at(host, self.direct_port.unwrap_or(self.port))
    }

    /// The pooler before it, if there is one.
    fn pooler(&self) -> Option<PgConnectOptions> {
        self.has_pooler().then(|| self.at(&self.host, self.port))
    }

    fn at(&self, host: &str, port: u16) -> PgConnectOptions {
        let mode = match self.tls {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        };
        // Without this, sqlx would take user and password from PG… variables and ~/.pgpass.
        let server = PgConnectOptions::new_without_pgpass();
        let server = server
            .host(host)
            .port(port)
            .database(&self.database)
            .ssl_mode(mode);
        match &self.tls_ca_file {
            Some(path) => server.ssl_root_cert(path),
            None => server,
        }
    }

    /// Server and login of a role.
    #[must_use]
    pub fn connect_as(&self, role: PostgresRole) -> PgConnectOptions {
        let server = self.server().username(role.as_str());
        match self.password(role) {
            Some(password) => server.password(password.expose_secret()),
            None => server,
        }
    }

    /// The administrator's login, if one is configured.
    #[must_use]
    pub fn connect_as_admin(&self) -> Option<PgConnectOptions> {
        let server = self.server().username(self.admin_user.as_deref()?);
        Some(match &self.admin_password {
            Some(password) => server.password(password.expose_secret()),
            None => server,
        })
    }

    /// The password of a role, if one is configured.
    #[must_use]
    pub fn password(&self, role: PostgresRole) -> Option<&SecretString> {
        match role {
            PostgresRole::Owner => self.owner_password.as_ref(),
            PostgresRole::App => self.app_password.as_ref(),
            PostgresRole::Reader => self.reader_password.as_ref(),
            PostgresRole::Log => self.log_password.as_ref(),
            PostgresRole::Projector => self.projector_password.as_ref(),
        }
    }

    /// What the ledger's pools are made from.
    #[must_use]
    pub fn database_options(&self) -> DatabaseOptions {
        let login = |role: PostgresRole| RoleLogin {
            user: role.as_str().to_owned(),
            password: self
                .password(role)
                .map(|password| password.expose_secret().to_owned()),
        };
        DatabaseOptions {
            server: self.server(),
            app_pooler: self.pooler(),
            app: login(PostgresRole::App),
            log: login(PostgresRole::Log),
            projector: login(PostgresRole::Projector),
            sizes: PoolSizes {
                app: self.app_connections_max,
                log: self.log_connections_max,
                projector: self.projector_connections_max,
            },
        }
    }
}
