//! An installation of one's own: a database and a stream prefix on given servers, keys, a configuration file, all made
//! by the real `counterfoil init`; and the real program on it, as any operator runs it, as often as a test wants.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use counterfoil::config::{Config, Sources};
use counterfoil::serve::backbone_options;
use counterfoil::stack::Endpoints;
use counterfoil_events::backbone::Backbone;
use counterfoil_events::ids::Fingerprint;
use counterfoil_events::ledger::Database;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;

use super::binary::binary;
use super::kms::shared_kms;
use super::ledger::{PASSWORD, unique_name};
use super::served::{Ended, Served};
use super::stack::{TempDir, shared_stack};

/// By which tests administer.
pub const TOKEN: &str = "cft_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Its database, the prefix of its streams and that of its keys in Redis have one name.
pub struct Installation {
    dir: TempDir,
    /// As the file says it.
    pub config: Config,
    /// Of the first signing key, as `init` printed it.
    pub root: Fingerprint,
    admin: PgConnectOptions,
}

impl Installation {
    /// On the servers of this test run.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With `more` at the end of its configuration: sections that name no server.
    pub async fn with(more: &str) -> Self {
        Self::on(shared_stack().endpoints(), more).await
    }

    /// With what `more` says at the end of its configuration; it may put files into the directory that it is given.
    pub async fn made(more: impl FnOnce(&Path) -> String) -> Self {
        Self::make(shared_stack().endpoints(), more).await
    }

    /// On these servers.
    pub async fn on(endpoints: &Endpoints, more: &str) -> Self {
        Self::make(endpoints, |_| more.to_owned()).await
    }

    async fn make(endpoints: &Endpoints, more: impl FnOnce(&Path) -> String) -> Self {
        let (dir, name) = (TempDir::new(), unique_name());
        let path = dir.path().join("counterfoil.toml");
        let more = more(dir.path());
        let mut text = configuration(dir.path(), &name, endpoints);
        if !more.contains("[vault]") {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "vault.socket = {:?}", shared_kms());
        }
        text.push_str(&more);
        std::fs::write(&path, text).unwrap();
        let config = Config::load(Sources::default().file(Some(path))).unwrap();
        let mut installation = Self {
            dir,
            config,
            root: "00".repeat(32).parse().unwrap(),
            admin: endpoints.postgres_admin().database(&name),
        };
        let said = installation.good(&["init"]).await;
        installation.root = said.trim().rsplit(' ').next().unwrap().parse().unwrap();
        installation
    }

    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("counterfoil.toml")
    }

    /// What all its processes log.
    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("serve.log")
    }

    /// Its database, as superuser.
    pub fn admin(&self) -> PgConnectOptions {
        self.admin.clone()
    }

    /// Connections of all roles, a few each.
    pub fn database(&self) -> Database {
        Database::new(&self.config.postgres.database_options())
    }

    pub async fn backbone(&self) -> Backbone {
        let options = backbone_options(&self.config.nats).await.unwrap();
        Backbone::connect(options).await.unwrap()
    }

    /// The program with this installation's configuration; killed when the caller lets go of it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COUNTERFOIL_")) {
            command.env_remove(name);
        }
        command
            .arg("--config")
            .arg(self.config_file())
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("RUST_LOG")
            .env_remove("FAILPOINTS")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    /// Runs a command that must find nothing; answers what it printed.
    pub async fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {out}{err}");
        out.into_owned()
    }

    /// A process with all roles that is ready.
    pub async fn serve(&self) -> Served {
        self.serve_with(&[]).await
    }

    /// The same with further arguments of `serve`.
    pub async fn serve_with(&self, arguments: &[&str]) -> Served {
        let started = Served::start(self, arguments, &[]).await;
        let served = started.expect("it listens");
        served.until_ready("it is ready", |status, _| status == 200).await;
        served
    }

    /// A process with all roles and these environment variables, ready or not; how it ended, when it did before
    /// it listened.
    pub async fn try_serve(&self, environment: &[(&str, &str)]) -> Result<Served, Ended> {
        Served::start(self, &[], environment).await
    }
}

/// Everything that names a server or a secret, without any section, so that sections may follow.
fn configuration(dir: &Path, name: &str, endpoints: &Endpoints) -> String {
    let secret = |secret: &secrecy::SecretString| Value::from(secret.expose_secret()).to_string();
    let quoted = |text: &str| Value::from(text).to_string();
    let path = |file: &str| quoted(&dir.join(file).to_string_lossy());
    let mut lines: Vec<(&str, String)> = vec![
        ("http.address", quoted("127.0.0.1:0")),
        ("auth.bootstrap_token", quoted(TOKEN)),
        ("auth.key_pepper_file", path("key.pepper")),
        ("signing.key_file", path("signing.key")),
        ("postgres.host", quoted(endpoints.host)),
        ("postgres.port", endpoints.postgres_port.to_string()),
        ("postgres.database", quoted(name)),
        ("postgres.tls", quoted("disable")),
        ("postgres.admin_user", quoted(endpoints.postgres_superuser)),
        ("postgres.admin_password", secret(&endpoints.postgres_password)),
        // All tests share the 200 connections of one server.
        ("postgres.app_connections_max", "4".to_owned()),
        ("postgres.log_connections_max", "6".to_owned()),
        ("postgres.projector_connections_max", "4".to_owned()),
        ("nats.url", quoted(&endpoints.nats_url)),
        ("nats.user", quoted(endpoints.nats_user)),
        ("nats.password", secret(&endpoints.nats_password)),
        ("nats.callout_key", secret(&endpoints.nats_callout_key)),
        ("nats.prefix", quoted(name)),
        ("nats.stream_max_bytes", (64 << 20).to_string()),
        ("redis.url", secret(&endpoints.redis_url)),
        ("redis.prefix", quoted(name)),
    ];
    let roles =
        ["owner", "app", "reader", "log", "projector"].map(|role| format!("postgres.{role}_password"));
    lines.extend(roles.iter().map(|key| (key.as_str(), quoted(PASSWORD))));
    lines.iter().fold(String::new(), |mut text, (key, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key} = {value}");
        text
    })
}
