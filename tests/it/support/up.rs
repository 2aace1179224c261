//! A running `counterfoil up`, as its users see it: a process, an address, a token, and commands that find it by its
//! directory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::binary::binary;
use super::stack::TempDir;

/// How long anything may take to come true. The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running `up`; killed when dropped.
pub struct UpProcess {
    child: Child,
    /// Where it keeps everything.
    pub data: PathBuf,
    pub url: String,
    pub token: String,
    pub fingerprint: String,
    pub http: reqwest::Client,
}

impl UpProcess {
    /// Starts it on `data`, on a port that is free, and waits until it says that it is up.
    pub async fn start(data: &Path) -> Self {
        let data = data.to_owned();
        tokio::task::spawn_blocking(move || Self::spawn(data))
            .await
            .unwrap()
    }

    fn spawn(data: PathBuf) -> Self {
        let mut command = program(&data);
        command.args(["up", "--json", "--port", "0"]);
        let log = std::fs::File::create(data.with_extension("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let said = || std::fs::read_to_string(data.with_extension("log")).unwrap_or_default();
        let up: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("`up` does not start: {}", said()));
        let text = |member: &str| up[member].as_str().unwrap().to_owned();
        Self {
            child,
            url: text("url"),
            token: text("bootstrap_token"),
            fingerprint: text("fingerprint"),
            data,
            http: reqwest::Client::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ctrl-C, then waits for an orderly end.
    pub async fn interrupt(mut self) {
        use nix::sys::signal::{Signal, kill};
        kill(nix::unistd::Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        tokio::task::spawn_blocking(move || assert!(self.child.wait().unwrap().success()))
            .await
            .unwrap();
    }

    /// A request as its administrator.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.send_as(&self.token, method, path, body).await
    }

    pub async fn send_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(token);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }

    /// A command that has to succeed.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// `counterfoil ARGUMENTS` with this directory.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        run(&self.data, arguments).await
    }

    /// The same, until it exits 0.
    pub async fn until_good(&self, arguments: &[&str]) -> Output {
        let began = Instant::now();
        loop {
            let output = self.run(arguments).await;
            if output.status.success() {
                return output;
            }
            assert!(began.elapsed() < PATIENCE, "{arguments:?}: {}", text(&output));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the process has looked at everything that it must know before it serves.
    pub async fn until_ready(&self) {
        let began = Instant::now();
        while self.send(Method::GET, "/ready", None).await.0 != StatusCode::OK {
            assert!(began.elapsed() < PATIENCE, "never ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An organisation with an agent that may complete: tenant, agent, API key.
    pub async fn with_an_agent(&self) -> (String, String, String) {
        let made = self
            .post("/v1/organisations", json!({"kind": "company", "name": "Example"}))
            .await;
        let tenant = made["home_tenant"].as_str().unwrap().to_owned();
        let agent = self
            .post(&format!("/v1/tenants/{tenant}/agents"), spec_card())
            .await;
        let agent = agent["id"].as_str().unwrap().to_owned();
        let key = self
            .post(&format!("/v1/tenants/{tenant}/agents/{agent}/keys"), json!({}))
            .await;
        let key = key["api_key"].as_str().unwrap().to_owned();
        let source = "package counterfoil\nimport rego.v1\ndecision := {\"allow\": true, \"reasons\": []}\n";
        for layer in ["organisation", "tenant"] {
            let versions = format!("/v1/tenants/{tenant}/policies/{layer}/versions");
            self.post(&versions, json!({"source": source})).await;
            let (status, answer) = self
                .send(Method::POST, &format!("{versions}/1/activate"), None)
                .await;
            assert!(status.is_success(), "{answer}");
        }
        (tenant, agent, key)
    }

    /// A completion by an agent, once the process knows of it.
    pub async fn complete(&self, key: &str) -> Value {
        self.until_ready().await;
        let body = json!({"model": "demo-small", "messages": [{"role": "user", "content": "Hello"}]});
        let began = Instant::now();
        loop {
            let (status, answer) = self
                .send_as(key, Method::POST, "/v1/chat/completions", Some(body.clone()))
                .await;
            if status.is_success() {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{status} {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for UpProcess {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// An agent that may use the demo provider's model.
pub fn spec_card() -> Value {
    json!({"name": "helper", "owner": "Claims team", "purpose": "Drafts replies", "models": ["demo-small"],
           "tool_scopes": [], "risk_tier": "limited"})
}

/// The program with `--data`, in a directory without configuration, and nothing of ours in its environment.
pub fn program(data: &Path) -> Command {
    let mut command = Command::new(binary());
    let ours = |(name, _): &(std::ffi::OsString, _)| name.to_string_lossy().starts_with("COUNTERFOIL_");
    for (name, _) in std::env::vars_os().filter(ours) {
        command.env_remove(name);
    }
    command.arg("--data").arg(data);
    command.stdin(Stdio::null()).current_dir(data.parent().unwrap());
    command
}

/// `counterfoil --data DATA ARGUMENTS`.
pub async fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = program(data);
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Everything that it printed.
pub fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A place for the data of one `up`, and whatever lies beside it.
pub fn place() -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    (dir, data)
}
