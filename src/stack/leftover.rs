//! Servers that an earlier, crashed process of ours may have left alive for a moment (or, without parent-death signals,
//! for longer). Each start of a server writes down its process id and *when that process began*, so that a leftover is
//! told apart from a stranger who was given the same id later; only a leftover is ever signalled.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::StackError;
use super::files;
use super::server::ServerKind;

/// How long a leftover may take to end by itself, and again after SIGQUIT (for Postgres an immediate
/// shutdown), before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: i32,
    began: String,
}

/// Writes down a server that was just started.
pub(super) fn remember(pid_file: &Path, pid: u32) -> Result<(), StackError> {
    let pid = pid as i32; // process ids are positive and far below 2^31
    let Some(began) = began(pid) else { return Ok(()) };
    files::write_json(pid_file, &Process { pid, began })
}

/// Forgets a server that has ended.
pub(super) fn forget(pid_file: &Path) {
    // Its process is gone, so a file that stays does no harm.
    let _best_effort = std::fs::remove_file(pid_file);
}

/// Waits for the leftover named in `pid_file`, if there is one, and ends it if it does not end by itself.
pub(super) async fn end(kind: ServerKind, pid_file: &Path) -> Result<(), StackError> {
    let Some(process) = files::read_json::<Process>(pid_file)? else {
        return Ok(());
    };
    for signal in [None, Some(Signal::SIGQUIT), Some(Signal::SIGKILL)] {
        if let Some(signal) = signal.filter(|_| process.is_alive()) {
            tracing::warn!(server = %kind, pid = process.pid, %signal, "ending a server that an earlier run left behind");
            let _gone_meanwhile = signal::kill(Pid::from_raw(process.pid), signal);
        }
        if process.ends_within(PATIENCE).await {
            break;
        }
    }
    forget(pid_file);
    Ok(())
}

impl Process {
    fn is_alive(&self) -> bool {
        began(self.pid).as_ref() == Some(&self.began)
    }

    async fn ends_within(&self, patience: Duration) -> bool {
        let until_gone = async {
            while self.is_alive() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(patience, until_gone).await.is_ok()
    }
}

/// When a living process began, in words that differ between two processes with one id; `None` if there is none.
#[cfg(target_os = "linux")]
fn began(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, so count from its end: state, then
    // 18 numbers, then the start time (field 22 of proc_pid_stat(5)) in ticks since boot.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, start) = (fields.first()?, fields.get(19)?);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    // A zombie has ended; it only waits for its new parent to notice.
    (*state != "Z" && *state != "X").then(|| format!("{} {start}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn began(pid: i32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", "lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::super::scratch::Scratch;
    use super::*;

    #[tokio::test]
    async fn a_leftover_is_ended_once_patience_is_over() {
        let scratch = Scratch::new();
        let pid_file = scratch.path().join("server.json");
        let mut left = Command::new("sleep").arg("600").spawn().unwrap();
        remember(&pid_file, left.id()).unwrap();
        let waiter = std::thread::spawn(move || left.wait().unwrap());
        end(ServerKind::Nats, &pid_file).await.unwrap();
        // Whoever runs the tests in a shell's background ignores SIGQUIT, and so does what they start.
        let ended_by = [Signal::SIGQUIT, Signal::SIGKILL].map(|signal| Some(signal as i32));
        assert!(ended_by.contains(&waiter.join().unwrap().signal()));
        assert!(!pid_file.exists());
    }

    #[tokio::test]
    async fn a_stranger_with_the_same_id_is_left_alone() {
        let scratch = Scratch::new();
        let pid_file = scratch.path().join("server.json");
        let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = stranger.id() as i32;
        files::write_json(
            &pid_file,
            &Process {
                pid,
                began: "another time".to_owned(),
            },
        )
        .unwrap();
        end(ServerKind::Nats, &pid_file).await.unwrap();
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
