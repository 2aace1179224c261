//! The real `counterfoil serve` as a child process, and its end by every means.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use super::installation::Installation;

/// How long anything may take that should take no time: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A serving process; killed when dropped.
pub struct Serving {
    child: Child,
    /// Held open: a process whose stdout is closed could not print.
    _stdout: BufReader<ChildStdout>,
    pub url: String,
    /// What it logs; all processes of an installation write into one file.
    pub log: PathBuf,
}

impl Serving {
    pub async fn start(installation: &Installation) -> Self {
        let started = Self::with(installation, &[]).await;
        started.expect("it listens")
    }

    /// With these environment variables; none when it ended before it listened.
    pub async fn with(installation: &Installation, environment: &[(&str, &str)]) -> Option<Self> {
        let log = installation.directory().join("serve.log");
        let stderr = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut command = installation.command(&["serve"]);
        command
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, stdout.read_line(&mut line))
            .await
            .expect("it listens in time")
            .unwrap();
        let url = line.trim().strip_prefix("listening on ")?.to_owned();
        Some(Self {
            child,
            _stdout: stdout,
            url,
            log,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, for `limit` at most.
    pub async fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.child.wait())
            .await
            .ok()
            .map(Result::unwrap)
    }

    pub async fn kill9(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ctrl-C, and an orderly end.
    pub async fn stop(mut self) {
        self.signal(Signal::SIGINT);
        let ended = self.ended_within(PATIENCE).await;
        assert!(ended.expect("it ends in time").success());
    }

    /// What `/ready` answers, with its status.
    pub async fn ready(&self) -> (u16, Value) {
        let answer = reqwest::get(format!("{}/ready", self.url)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Waits until `/ready` satisfies `wanted`.
    pub async fn until_ready(&self, what: &str, wanted: impl Fn(u16, &Value) -> bool) {
        let began = std::time::Instant::now();
        loop {
            let (status, body) = self.ready().await;
            if wanted(status, &body) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {status} {body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
