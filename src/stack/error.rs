//! What can go wrong while the private servers are prepared, started or ordered about.
//!
//! Each text names the thing (path, port, process id, version) and the next step, as it is shown to a newcomer whose
//! first `counterfoil up` did not work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::server::ServerKind;

/// A failure of the embedded servers.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Another process holds the data directory.
    #[error(
        "the data directory {dir} is in use by counterfoil process {pid}; stop it, or choose another directory with --data"
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The holder, as it wrote itself into the lock file; "unknown" where that cannot be read.
        pid: String,
    },

    /// The data directory was made by another user.
    #[error(
        "the data directory {dir} belongs to user {owner}; start as that user, or choose another with --data"
    )]
    OwnedByAnother {
        /// The data directory.
        dir: PathBuf,
        /// The user who made it.
        owner: String,
    },

    /// No usable server program was found.
    #[error("{needed} is needed{}; run `make` in the source tree (it runs deploy/dev/setup.sh), or install it and put it on the PATH", rejected(.found))]
    NoUsableBinary {
        /// What was looked for, with its versions.
        needed: &'static str,
        /// What was found instead: one text per program, naming path and version.
        found: Vec<String>,
    },

    /// The data was written by a major version of Postgres that is not installed.
    #[error(
        "the data in {dir} was written by PostgreSQL {major}, which is not installed; install postgresql-{major}, or choose another directory with --data"
    )]
    ClusterVersion {
        /// The cluster's directory.
        dir: PathBuf,
        /// The major version that wrote it.
        major: u32,
    },

    /// Started as root, and there is no user to run Postgres as.
    #[error(
        "Postgres refuses to run as root, and there is no user `postgres` to run it as; install the postgresql package, or start counterfoil as an ordinary user"
    )]
    NoPostgresUser,

    /// The user that is to run Postgres cannot reach its directory.
    #[error(
        "user {user} cannot enter {dir}; make every directory above it searchable (chmod o+x), or choose another with --data"
    )]
    Unreachable {
        /// The user that Postgres runs as.
        user: String,
        /// The directory it cannot enter.
        dir: PathBuf,
    },

    /// Passwords of existing data are gone.
    #[error(
        "{dir} holds data, but {file} with its passwords is missing; put that file back, or move the directory away to start afresh"
    )]
    CredentialsMissing {
        /// The data directory.
        dir: PathBuf,
        /// The file that should be in it.
        file: PathBuf,
    },

    /// A file of ours does not read as what we wrote.
    #[error("{file} is damaged ({reason}); restore it, or move it away to have it made again")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What the parser said.
        reason: String,
    },

    /// A Postgres that is not ours works on our data.
    #[error(
        "Postgres process {pid}, which this data directory did not start, is working on {dir}; stop it first (kill -INT {pid})"
    )]
    ForeignPostgres {
        /// Its process id.
        pid: i32,
        /// The cluster's directory.
        dir: PathBuf,
    },

    /// A helper program (initdb, say) failed.
    #[error("{program} failed ({status}):\n{output}")]
    Helper {
        /// The program.
        program: PathBuf,
        /// Its exit status.
        status: String,
        /// The end of what it wrote.
        output: String,
    },

    /// A server ended while it was being started.
    #[error("{server} ended while starting ({status}); the end of its log {}:\n{tail}", .log.display())]
    Exited {
        /// Which one.
        server: ServerKind,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of that.
        tail: String,
    },

    /// A server started, and did not answer in time.
    #[error("{server} did not answer within {} s ({reason}); the end of its log {}:\n{tail}", .within.as_secs(), .log.display())]
    NotReady {
        /// Which one.
        server: ServerKind,
        /// The limit.
        within: Duration,
        /// What the last try said.
        reason: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of that.
        tail: String,
    },

    /// No free port was found.
    #[error("no free port on 127.0.0.1 between {from} and {to} after {tries} tries")]
    NoPort {
        /// Lowest port tried.
        from: u16,
        /// Highest port tried.
        to: u16,
        /// How many were tried.
        tries: u32,
    },

    /// An order that needs a running server met one that is not running.
    #[error("{0} is not running")]
    NotRunning(ServerKind),

    /// The stack is stopping or has stopped.
    #[error("the stack of servers has been stopped")]
    Stopped,

    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl StackError {
    /// Adapter for `map_err`: names what was tried, and on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

fn rejected(found: &[String]) -> String {
    if found.is_empty() {
        " and was not found".to_owned()
    } else {
        format!(" (found {})", found.join("; "))
    }
}
