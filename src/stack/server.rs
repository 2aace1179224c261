//! What the servers have in common, as data: which program runs, as whom, how it is asked whether it works, and which
//! signals end it. `postgres.rs`, `nats.rs`, `redis.rs` and `kms.rs` each make one [`ServerSpec`]; `keeper.rs` runs it.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::account::Account;
use super::error::StackError;
use super::probe::Probe;

/// One of the servers Counterfoil stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// The truth.
    Postgres,
    /// The backbone (JetStream).
    Nats,
    /// Counters and kept answers.
    Redis,
    /// The key process of the vault, where one is asked for: our own program, at a socket instead of a port.
    Kms,
}

impl ServerKind {
    /// Those that every stack has, in the order in which they are shown; they have ports.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Nats, Self::Redis];

    /// The name used in file names.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Kms => "kms",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "Postgres",
            Self::Nats => "NATS",
            Self::Redis => "Redis",
            Self::Kms => "the key process",
        })
    }
}

/// Where a server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// Started, not yet answering.
    Starting,
    /// Answering.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// It ended by itself, and is started again after a pause.
    Restarting {
        /// Starts tried since it last ran for a while.
        attempt: u32,
        /// Why it is not running.
        reason: String,
    },
    /// Stopped by an order.
    Stopped,
}

/// What a server needs done before each of its starts.
pub(super) type BeforeStart = Box<dyn Fn() -> Result<(), StackError> + Send + Sync>;

/// How one server is run.
pub(super) struct ServerSpec {
    pub kind: ServerKind,
    pub program: PathBuf,
    /// Never a secret: anyone on the machine may read a command line.
    pub args: Vec<OsString>,
    /// Its working directory.
    pub dir: PathBuf,
    /// Whom it runs as, where that is not ourselves.
    pub account: Option<Account>,
    /// Tidies up before every start.
    pub before_start: Option<BeforeStart>,
    pub log: PathBuf,
    /// Remembers its process across a crash of ours.
    pub pid_file: PathBuf,
    /// Zero for the key process, which listens at a socket.
    pub port: u16,
    pub probe: Probe,
    pub stop_signal: Signal,
    /// What ends it at once without harm to its data; also sent when our process dies.
    pub death_signal: Signal,
    pub start_timeout: Duration,
    pub stop_timeout: Duration,
}
