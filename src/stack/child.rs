//! How a child process is made so that it cannot outlive ours.
//!
//! On Linux the kernel sends the child its death signal when the *thread* that spawned it ends, and forgets that wish
//! when the child changes its user. So every launch happens on the one thread that lives as long as the stack (see
//! `supervisor.rs`), and the wish is made after the change of user: the standard library changes uid and gid before it
//! runs `pre_exec`. A test kills a parent with `kill -9`, as root too, and looks for survivors. Elsewhere see
//! `watcher.rs`.
#![allow(unsafe_code)] // `pre_exec` is unsafe by nature; see the SAFETY note at its only use.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::process::Command;

use super::account::Account;

/// All that a child gets of our environment: enough to find programs and libraries. The rest may hold our secrets, or
/// settings (`PGPORT`, `PGDATA`) that were meant for another Postgres.
const ENVIRONMENT: [&str; 6] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
];

/// A program to run as a child.
pub(super) struct Launch<'a> {
    pub program: &'a Path,
    pub args: &'a [OsString],
    pub dir: &'a Path,
    /// Whom to run it as, where that is not ourselves.
    pub account: Option<&'a Account>,
    /// Sent to it when our process dies.
    pub death_signal: Signal,
}

impl Launch<'_> {
    /// The command, with no input, in a process group of its own: a Ctrl-C in the terminal is for us, who then stop the
    /// servers in order.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(self.args)
            .current_dir(self.dir)
            .stdin(Stdio::null())
            .process_group(0);
        command.env_clear().env("LC_ALL", "C");
        command.envs(
            ENVIRONMENT
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        if let Some(account) = self.account {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        die_with_us(&mut command, self.death_signal);
        command
    }
}

#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command, signal: Signal) {
    let us = nix::unistd::Pid::this();
    let arrange = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // We may have died before the wish was made; then nobody would ever send the signal.
        if nix::unistd::getppid() != us {
            return Err(std::io::Error::from_raw_os_error(
                nix::errno::Errno::ECHILD as i32,
            ));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. `arrange` makes the two system calls
    // prctl(2) and getppid(2), allocates nothing and takes no lock.
    unsafe { command.pre_exec(arrange) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_command: &mut Command, _signal: Signal) {}
