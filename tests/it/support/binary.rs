//! The real program as a child process, and what the system says of processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_counterfoil"))
}

/// A running `counterfoil stack run`; killed when dropped.
pub struct StackProcess {
    child: Child,
    /// What it printed when its servers answered.
    pub addresses: Value,
}

impl StackProcess {
    /// Starts it on `data` and waits for its servers.
    pub fn start(data: &Path) -> Self {
        Self::spawn(Command::new(binary()), data)
    }

    /// Starts `program` (as prepared: user, environment) with the arguments for `data`, and waits for its servers.
    pub fn spawn(mut program: Command, data: &Path) -> Self {
        program
            .args(["stack", "run", "--data"])
            .arg(data)
            .stdin(Stdio::null());
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line.is_empty() {
            let output = child.wait_with_output().unwrap();
            panic!(
                "no addresses ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Self {
            child,
            addresses: serde_json::from_str(&line).unwrap(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its servers' process ids.
    pub fn server_pids(&self) -> Vec<u32> {
        let pids = self.addresses["pids"].as_array().unwrap();
        pids.iter()
            .map(|pair| u32::try_from(pair[1].as_u64().unwrap()).unwrap())
            .collect()
    }

    pub fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C, then waits for an orderly end.
    pub fn interrupt(mut self) {
        use nix::sys::signal::{Signal, kill};
        kill(nix::unistd::Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for StackProcess {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Whether a process lives (a zombie does not).
pub fn is_alive(pid: u32) -> bool {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// The children of a process, and theirs, and so on.
pub fn descendants(pid: u32) -> Vec<u32> {
    let output = Command::new("ps")
        .args(["-e", "-o", "pid=,ppid="])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs: Vec<(u32, u32)> = text
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(|n| n.parse().unwrap())
                .collect::<Vec<u32>>()
        })
        .map(|numbers| (numbers[0], numbers[1]))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(
            pairs
                .iter()
                .filter(|(_, above)| *above == parent)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    found.split_off(1)
}

/// The user that a process runs as.
pub fn uid_of(pid: u32) -> u32 {
    let output = Command::new("ps")
        .args(["-o", "uid=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

/// Waits until none of `pids` lives. The limit only keeps a failure from hanging.
pub fn wait_until_gone(pids: &[u32]) {
    let limit = Instant::now() + Duration::from_secs(60);
    while let Some(alive) = pids.iter().find(|pid| is_alive(**pid)) {
        assert!(Instant::now() < limit, "process {alive} is still alive");
        std::thread::sleep(Duration::from_millis(20));
    }
}
