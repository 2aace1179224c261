//! Ends a child when our process dies, on systems without a parent-death signal (macOS).
//!
//! A shell reads from a pipe whose other end only we hold. The kernel closes that end whichever way we die; the shell
//! then sees the end of its input and signals the child. An orderly end of the child ends its watcher first, so that a
//! process id which was given to somebody else in the meantime is never signalled.

use std::io;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

const SCRIPT: &str = r#"cat >/dev/null; kill -s "$1" "$2""#;

/// Lives as long as the child it watches over; dropping it leaves the child alone.
#[derive(Debug)]
pub(super) struct Watcher(Child);

impl Watcher {
    /// Watches over process `pid`, where the system does not do it by itself.
    pub fn where_needed(pid: u32, signal: Signal) -> io::Result<Option<Self>> {
        if cfg!(target_os = "linux") {
            Ok(None)
        } else {
            Self::start(pid, signal).map(Some)
        }
    }

    fn start(pid: u32, signal: Signal) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let name = signal.as_str().trim_start_matches("SIG");
        Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh", name, &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map(Self)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Killed before its input closes. Failing means that it is gone already.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn a_closed_pipe_ends_the_child_with_the_signal() {
        let mut child = sleeper();
        // Not SIGQUIT: what a shell runs in its background ignores that.
        let mut watcher = Watcher::start(child.id(), Signal::SIGTERM).unwrap();
        drop(watcher.0.stdin.take());
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    }

    #[test]
    fn dropping_the_watcher_leaves_the_child_alone() {
        let mut child = sleeper();
        drop(Watcher::start(child.id(), Signal::SIGQUIT).unwrap());
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }
}
