//! One run of one server: launched, asked until it answers, and ended (gracefully first, then harder).

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::child::Launch;
use super::error::StackError;
use super::leftover;
use super::logs;
use super::server::ServerSpec;
use super::watcher::Watcher;

/// One question to a server that is starting may take this long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between questions: short at first, since most starts take a fraction of a second, then longer, since a server that
/// recovers logs each refusal.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A server's process, ours to wait for.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pub pid: u32,
    log_begins: u64,
    /// Ended before the process id can be given to another.
    watcher: Option<Watcher>,
}

impl Running {
    /// Launches the server. Must happen on the thread that lives as long as the stack; see `child.rs`.
    pub fn launch(spec: &ServerSpec) -> Result<Self, StackError> {
        if let Some(before_start) = &spec.before_start {
            before_start()?;
        }
        let log = logs::open(&spec.log)?;
        let output = log
            .file
            .try_clone()
            .map_err(StackError::io("open the log", &spec.log))?;
        let launch = Launch {
            program: &spec.program,
            args: &spec.args,
            dir: &spec.dir,
            account: spec.account.as_ref(),
            death_signal: spec.death_signal,
        };
        let mut command = launch.command();
        // A child that is not yet remembered would outlive an error below.
        let child = command
            .kill_on_drop(true)
            .stdout(log.file)
            .stderr(output)
            .spawn()
            .map_err(StackError::io("run", &spec.program))?;
        // A child that was not waited for yet has an id.
        let pid = child.id().unwrap_or_default();
        let watcher =
            Watcher::where_needed(pid, spec.death_signal).map_err(StackError::io("watch", &spec.program))?;
        leftover::remember(&spec.pid_file, pid)?;
        Ok(Self {
            child,
            pid,
            log_begins: log.begins,
            watcher,
        })
    }

    /// Asks until the server answers. Its end, or the time limit, is an error that quotes its log.
    pub async fn until_ready(&mut self, spec: &ServerSpec) -> Result<(), StackError> {
        let deadline = Instant::now() + spec.start_timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = tokio::select! {
                status = self.child.wait() => return Err(self.exited(spec, status)),
                answer = timeout(PROBE_TIMEOUT, spec.probe.ask()) => match answer {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(reason)) => reason,
                    Err(_elapsed) => "no answer".to_owned(),
                },
            };
            if Instant::now() + pause > deadline {
                return Err(self.not_ready(spec, reason));
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits until the process has ended, in words.
    pub async fn ended(&mut self, spec: &ServerSpec) -> String {
        let status = self.child.wait().await;
        self.tidy(spec);
        describe(status)
    }

    pub fn signal(&self, signal: Signal) -> bool {
        // The process has not been waited for, so its id is still its own.
        signal::kill(Pid::from_raw(self.pid as i32), signal).is_ok()
    }

    /// Ends the process: its stop signal, then its death signal, then SIGKILL.
    pub async fn stop(mut self, spec: &ServerSpec) {
        let steps = [
            (spec.stop_signal, spec.stop_timeout),
            (spec.death_signal, Duration::from_secs(10)),
        ];
        for (signal, patience) in steps {
            self.signal(signal);
            if timeout(patience, self.child.wait()).await.is_ok() {
                return self.tidy(spec);
            }
            tracing::warn!(server = %spec.kind, pid = self.pid, %signal, "has not ended in time; trying harder");
        }
        self.signal(Signal::SIGKILL);
        self.ended(spec).await;
    }

    /// Ends the process without ceremony; its data take no harm.
    pub async fn end_at_once(mut self, spec: &ServerSpec) {
        self.signal(spec.death_signal);
        // A paused process acts on signals only once it is continued.
        self.signal(Signal::SIGCONT);
        if timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            self.signal(Signal::SIGKILL);
        }
        self.ended(spec).await;
    }

    fn tidy(&mut self, spec: &ServerSpec) {
        self.watcher.take();
        leftover::forget(&spec.pid_file);
    }

    fn exited(&mut self, spec: &ServerSpec, status: std::io::Result<ExitStatus>) -> StackError {
        self.tidy(spec);
        StackError::Exited {
            server: spec.kind,
            status: describe(status),
            log: spec.log.clone(),
            tail: logs::tail(&spec.log, self.log_begins),
        }
    }

    fn not_ready(&self, spec: &ServerSpec, reason: String) -> StackError {
        StackError::NotReady {
            server: spec.kind,
            within: spec.start_timeout,
            reason,
            log: spec.log.clone(),
            tail: logs::tail(&spec.log, self.log_begins),
        }
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|e| e.to_string(), |status| status.to_string())
}
