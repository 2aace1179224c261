//! The real `counterfoil serve` as a child process: requests by its administrator, and its end by every means.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use super::installation::{Installation, TOKEN};
use super::reply::Reply;

/// How long anything may take that should take no time: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ended before it listened.
#[derive(Debug)]
pub struct Ended {
    pub pid: u32,
    pub status: ExitStatus,
}

/// A serving process; killed when dropped.
pub struct Served {
    child: Child,
    pub pid: u32,
    /// Held open: a process whose stdout is closed could not print.
    _stdout: BufReader<ChildStdout>,
    pub url: String,
    log: PathBuf,
    client: reqwest::Client,
}

impl Served {
    /// See `Installation::serve` and its like.
    pub(super) async fn start(
        installation: &Installation,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, Ended> {
        let log = installation.log_file();
        let mut options = std::fs::File::options();
        let stderr = options.create(true).append(true).open(&log).unwrap();
        let mut command = installation.command(&[&["serve"], arguments].concat());
        command
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = command.spawn().unwrap();
        let pid = child.id().expect("it was not waited for");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, stdout.read_line(&mut line))
            .await
            .expect("it listens in time")
            .unwrap();
        // With the API it says `listening on …`, without it what it answers there.
        let Some((_, url)) = line.trim().split_once("http://") else {
            assert_eq!(line, "", "it says where it listens, or nothing");
            let status = child.wait().await.unwrap();
            return Err(Ended { pid, status });
        };
        Ok(Self {
            child,
            pid,
            _stdout: stdout,
            url: format!("http://{url}"),
            log,
            client: reqwest::Client::new(),
        })
    }

    /// What it has logged, and all other processes of its installation: they write into one file.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        assert!(self.child.id().is_some(), "it was not waited for");
        kill(Pid::from_raw(self.pid.cast_signed()), signal).unwrap();
    }

    /// Waits for its end, for `limit` at most.
    pub async fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.child.wait())
            .await
            .ok()
            .map(Result::unwrap)
    }

    /// Kills it; answers how it ended, since it may have been faster.
    pub async fn kill9(mut self) -> ExitStatus {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap()
    }

    /// Ctrl-C, and an orderly end.
    pub async fn stop(self) {
        self.signal(Signal::SIGINT);
        self.stopped().await;
    }

    /// Waits until it has ended by itself, and makes sure that it ended well.
    pub async fn stopped(mut self) {
        let ended = self.ended_within(PATIENCE).await;
        let well = ended.is_some_and(|status| status.success());
        assert!(well, "{ended:?}: {}", self.log());
    }

    /// What `/ready` answers, with its status.
    pub async fn ready(&self) -> (u16, Value) {
        let reply = self.get("/ready").await;
        (reply.status, reply.json())
    }

    /// Waits until `/ready` satisfies `wanted`.
    pub async fn until_ready(&self, what: &str, wanted: impl Fn(u16, &Value) -> bool) {
        let began = Instant::now();
        loop {
            let (status, body) = self.ready().await;
            if wanted(status, &body) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: {status} {body}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Closes the connections of earlier requests.
    pub fn hang_up(&mut self) {
        self.client = reqwest::Client::new();
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
        Reply::of(match body.is_null() {
            true => request,
            false => request.json(body),
        })
        .await
    }
}
