//! The real program as it is installed: `init` once, then `serve` as often and with as many processes as a test wants,
//! on the shared stack with a database and a stream prefix of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use counterfoil::stack::Endpoints;
use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::binary::binary;
use super::ledger::unique_name;
use super::stack::{TempDir, shared_stack};

pub const TOKEN: &str = "cft_only-for-tests-0123456789abcdefghij";
const PATIENCE: Duration = Duration::from_secs(60);

/// What `init` made.
pub struct Installation {
    dir: TempDir,
    name: String,
    /// Of the first signing key, as `init` printed it.
    pub fingerprint: String,
    started: AtomicU32,
}

impl Installation {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With `more` at the end of its configuration.
    pub async fn with(more: &str) -> Self {
        Self::made(|_| more.to_owned()).await
    }

    /// With what `more` says at the end of its configuration; it may put files into the directory that it is given.
    pub async fn made(more: impl FnOnce(&std::path::Path) -> String) -> Self {
        let mut installation = Self {
            dir: TempDir::new(),
            name: unique_name(),
            fingerprint: String::new(),
            started: AtomicU32::new(0),
        };
        let config = installation.configuration(shared_stack().endpoints()) + &more(installation.dir.path());
        std::fs::write(installation.config(), config).unwrap();
        let mut init = installation.command(&["init"]);
        let made = tokio::task::spawn_blocking(move || init.output().unwrap())
            .await
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let said = String::from_utf8(made.stdout).unwrap();
        installation.fingerprint = said.trim().rsplit(' ').next().unwrap().to_owned();
        installation
    }

    fn configuration(&self, endpoints: &Endpoints) -> String {
        let dir = self.dir.path().display();
        let mut text = String::new();
        let mut line = |key: &str, value: &str| writeln!(text, "{key} = {value:?}").unwrap();
        line("http.address", "127.0.0.1:0");
        line("auth.bootstrap_token", TOKEN);
        line("auth.key_pepper_file", &format!("{dir}/pepper"));
        line("signing.key_file", &format!("{dir}/signing.key"));
        line("postgres.host", endpoints.host);
        line("postgres.tls", "disable");
        line("postgres.database", &self.name);
        line("postgres.admin_user", endpoints.postgres_superuser);
        line(
            "postgres.admin_password",
            endpoints.postgres_password.expose_secret(),
        );
        for role in ["owner", "app", "reader", "log", "projector"] {
            line(&format!("postgres.{role}_password"), "only-for-tests");
        }
        line("nats.url", &endpoints.nats_url);
        line("nats.user", endpoints.nats_user);
        line("nats.password", endpoints.nats_password.expose_secret());
        line("nats.prefix", &self.name);
        line("redis.url", endpoints.redis_url.expose_secret());
        line("redis.prefix", &self.name);
        line("telemetry.log_filter", "info");
        // All tests share the 200 connections of one server.
        let numbers = [
            ("postgres.port", u64::from(endpoints.postgres_port)),
            ("postgres.app_connections_max", 4),
            ("postgres.log_connections_max", 5),
            ("postgres.projector_connections_max", 4),
            ("nats.stream_max_bytes", 64 << 20),
        ];
        for (key, value) in numbers {
            writeln!(text, "{key} = {value}").unwrap();
        }
        text
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("counterfoil.toml")
    }

    /// Its database, as superuser.
    pub fn admin(&self) -> sqlx::postgres::PgConnectOptions {
        shared_stack().endpoints().postgres_admin().database(&self.name)
    }

    /// The program with this configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .current_dir(self.dir.path());
        command.stdin(Stdio::null());
        command
    }

    /// One process with all roles.
    pub async fn serve(&self) -> Served {
        self.serve_with(&[]).await
    }

    /// One process with these further arguments of `serve`.
    pub async fn serve_with(&self, arguments: &[&str]) -> Served {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.dir.path().join(format!("serve-{number}.{kind}"));
        let (out, log) = (file("out"), file("log"));
        let mut command = self.command(&[&["serve"], arguments].concat());
        command
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&log).unwrap());
        let mut served = Served {
            child: command.spawn().unwrap(),
            url: String::new(),
            log,
            client: reqwest::Client::new(),
        };
        served.url = served.listens(&out).await;
        served.ready().await;
        served
    }
}

/// A running `counterfoil serve`; killed when dropped.
pub struct Served {
    child: Child,
    pub url: String,
    log: PathBuf,
    client: reqwest::Client,
}

impl Served {
    async fn listens(&mut self, out: &PathBuf) -> String {
        let limit = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(out).unwrap_or_default();
            if let Some(url) = text.lines().find_map(|line| line.split("http://").nth(1)) {
                return format!("http://{}", url.trim());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < limit,
                "not listening: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ready(&self) {
        let limit = Instant::now() + PATIENCE;
        while self.get("/ready").await.status != 200 {
            assert!(Instant::now() < limit, "not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to stop, as an orchestrator does; `stopped` waits for it.
    pub fn terminate(&self) {
        kill(
            nix::unistd::Pid::from_raw(self.child.id() as i32),
            Signal::SIGTERM,
        )
        .unwrap();
    }

    /// Waits until it has ended by itself, and makes sure that it ended well.
    pub async fn stopped(mut self) {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}: {}", self.log());
                return;
            }
            assert!(Instant::now() < limit, "does not stop: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A request by the administrator.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(TOKEN)
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::GET, path)).await
    }

    /// Null sends no body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        let request = self.request(Method::POST, path);
        Reply::of(if body.is_null() {
            request
        } else {
            request.json(body)
        })
        .await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The body of an answer that must be good.
    pub fn good(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }

    /// The slug of a problem, its shape made sure.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        let json = self.json();
        assert_eq!(json["status"], self.status);
        for member in ["title", "detail", "instance"] {
            assert!(
                json[member].as_str().is_some_and(|text| !text.is_empty()),
                "{json}"
            );
        }
        let kind = json["type"].as_str().unwrap();
        let slug = kind.strip_prefix("https://counterfoil.dev/problems/");
        slug.unwrap().to_owned()
    }
}
