//! Private Postgres: the truth. Durable (fsync, full page writes and checksums on), reachable over loopback and a socket
//! in its own directory only, with a generated superuser password (SCRAM everywhere).
//!
//! Its directory is `postgres/` in the data directory: `data/` is the cluster, `run/` holds the socket. Root runs it as
//! another user (see `account.rs`); where that user cannot reach the data directory (it lies under `/root`, say), the
//! directory is made under `/var/lib/counterfoil` instead and `postgres/` is a link to it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::account::Account;
use super::binaries::Binaries;
use super::child::Launch;
use super::data_dir::DataDir;
use super::error::StackError;
use super::probe::Probe;
use super::server::{ServerKind, ServerSpec};
use super::{files, logs};

pub(super) const SUPERUSER: &str = "postgres";

/// For root, where Postgres's user cannot reach the data directory.
const ELSEWHERE: &str = "/var/lib/counterfoil";

/// A socket's path is limited to 107 bytes by the kernel (104 on macOS); this is what Postgres appends to its directory.
const SOCKET_DIR_MAX_BYTES: usize = 103 - "/.s.PGSQL.65535".len();

/// Settings of every start. Statements and row values stay out of the log: they may hold what must not leave the tables.
const SETTINGS: [(&str, &str); 14] = [
    ("listen_addresses", "127.0.0.1"),
    ("password_encryption", "scram-sha-256"),
    ("max_connections", "200"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "2GB"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("log_timezone", "UTC"),
];

/// Postgres's directory, and whom it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Home {
    dir: PathBuf,
    account: Option<Account>,
}

impl Home {
    /// Finds the directory, or makes it.
    pub async fn open(data_dir: &DataDir) -> Result<Self, StackError> {
        let dir = data_dir.of(ServerKind::Postgres);
        let account = Account::for_postgres(&dir)?;
        if dir.is_dir() {
            let dir = dir.canonicalize().map_err(StackError::io("resolve", &dir))?;
            return Self { dir, account }.reachable().await;
        }
        files::make_private_dir(&dir)?;
        let Some(account) = account else {
            return Ok(Self { dir, account: None });
        };
        if data_dir.is_exclusive() {
            let_in(&account, data_dir.root())?;
        }
        account.own(&dir)?;
        if account.can_enter(&dir).await? {
            return Ok(Self {
                dir,
                account: Some(account),
            });
        }
        fs::remove_dir(&dir).map_err(StackError::io("remove", &dir))?;
        elsewhere(&dir, account)?.reachable().await
    }

    async fn reachable(self) -> Result<Self, StackError> {
        match &self.account {
            Some(account) if !account.can_enter(&self.dir).await? => Err(StackError::Unreachable {
                user: account.name.clone(),
                dir: self.dir,
            }),
            _ => Ok(self),
        }
    }

    pub fn cluster(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn socket_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Makes the cluster if there is none. Made beside its place and renamed, so that one that exists is whole.
    pub async fn init(&self, binaries: &Binaries, password: &SecretString) -> Result<(), StackError> {
        let cluster = self.cluster();
        if cluster.exists() {
            return Ok(());
        }
        let unfinished = self.dir.join("data.new");
        remove_dir_if_any(&unfinished)?;
        let password_file = self.dir.join("password");
        files::write_private(&password_file, password.expose_secret().as_bytes())?;
        if let Some(account) = &self.account {
            account.own(&password_file)?;
        }
        let made = self.run_initdb(binaries, &unfinished, &password_file).await;
        fs::remove_file(&password_file).map_err(StackError::io("remove", &password_file))?;
        made?;
        fs::rename(&unfinished, &cluster).map_err(StackError::io("rename", &unfinished))
    }

    async fn run_initdb(
        &self,
        binaries: &Binaries,
        into: &Path,
        password_file: &Path,
    ) -> Result<(), StackError> {
        let mut pwfile = OsString::from("--pwfile=");
        pwfile.push(password_file);
        let username = format!("--username={SUPERUSER}");
        // The C locale sorts by bytes, the same on every machine and after every upgrade of the system's locales.
        let fixed = [
            "--encoding=UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            "--data-checksums",
            &username,
            "-D",
        ];
        let args: Vec<OsString> = fixed
            .into_iter()
            .map(Into::into)
            .chain([into.into(), pwfile])
            .collect();
        self.run(&binaries.initdb, &args).await
    }

    async fn run(&self, program: &Path, args: &[OsString]) -> Result<(), StackError> {
        let launch = Launch {
            program,
            args,
            dir: &self.dir,
            account: self.account.as_ref(),
            death_signal: Signal::SIGKILL,
        };
        let mut command = launch.command();
        let output = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .await;
        let output = output.map_err(StackError::io("run", program))?;
        if output.status.success() {
            return Ok(());
        }
        let written = [output.stdout, output.stderr].concat();
        Err(StackError::Helper {
            program: program.to_path_buf(),
            status: output.status.to_string(),
            output: logs::last_lines(&String::from_utf8_lossy(&written)),
        })
    }

    /// LZ4 where this Postgres was built with it: it costs a tenth of the built-in method's time. Postgres itself is
    /// asked, since its version does not tell.
    async fn wal_compression(&self, postgres: &Path) -> &'static str {
        let args = [
            "-D".into(),
            self.cluster().into(),
            "-c".into(),
            "wal_compression=lz4".into(),
        ];
        let ask = ["-C".into(), "wal_compression".into()];
        let answer = self.run(postgres, &[&args[..], &ask[..]].concat()).await;
        if answer.is_ok() { "lz4" } else { "on" }
    }

    /// Says how to run Postgres on `port`; `extra` settings come last and win.
    pub async fn spec(
        &self,
        data_dir: &DataDir,
        binaries: &Binaries,
        port: u16,
        password: &SecretString,
        extra: &[(String, String)],
    ) -> ServerSpec {
        let mut args: Vec<OsString> = vec!["-D".into(), self.cluster().into()];
        let mut set = |name: &str, value: &str| args.extend(["-c".into(), format!("{name}={value}").into()]);
        set("port", &port.to_string());
        set("unix_socket_directories", &self.socket_setting());
        set("wal_compression", self.wal_compression(&binaries.postgres).await);
        SETTINGS.iter().for_each(|(name, value)| set(name, value));
        extra.iter().for_each(|(name, value)| set(name, value));
        ServerSpec {
            kind: ServerKind::Postgres,
            program: binaries.postgres.clone(),
            args,
            dir: self.dir.clone(),
            account: self.account.clone(),
            before_start: {
                let home = self.clone();
                Some(Box::new(move || home.clear_stale_locks()))
            },
            log: data_dir.log(ServerKind::Postgres),
            pid_file: data_dir.pid_file(ServerKind::Postgres),
            port,
            probe: Probe::Postgres(Box::new(connect_options(port, password))),
            // Fast shutdown: ends sessions, writes a checkpoint.
            stop_signal: Signal::SIGINT,
            // Immediate shutdown: the postmaster takes its backends along; recovery at the next start.
            death_signal: Signal::SIGQUIT,
            // Recovery after a crash replays up to max_wal_size.
            start_timeout: Duration::from_secs(120),
            stop_timeout: Duration::from_secs(60),
        }
    }

    /// No socket at all where the directory's path is too long for one: connections then use loopback only.
    fn socket_setting(&self) -> String {
        let dir = self.socket_dir();
        // A comma separates directories in this setting, and cannot be part of one.
        let usable = dir.as_os_str().len() <= SOCKET_DIR_MAX_BYTES;
        dir.to_str()
            .filter(|text| usable && !text.contains(','))
            .unwrap_or_default()
            .to_owned()
    }

    /// Removes what would make Postgres refuse to start although nobody works on the cluster: a lock file naming a
    /// process id that a stranger has now. One that names a dead process is left to Postgres, which uses it to find
    /// backends that outlived their postmaster.
    fn clear_stale_locks(&self) -> Result<(), StackError> {
        let cluster = self.cluster();
        let pid_file = cluster.join("postmaster.pid");
        match holder(&cluster, &pid_file) {
            Holder::Postmaster(pid) => return Err(StackError::ForeignPostgres { pid, dir: cluster }),
            Holder::Stranger => fs::remove_file(&pid_file).map_err(StackError::io("remove", &pid_file))?,
            Holder::Nobody => {}
        }
        let socket_dir = self.socket_dir();
        remove_dir_if_any(&socket_dir)?;
        files::make_private_dir(&socket_dir)?;
        self.account
            .as_ref()
            .map_or(Ok(()), |account| account.own(&socket_dir))
    }
}

/// Who has the process id that a cluster's lock file names.
enum Holder {
    Nobody,
    Postmaster(i32),
    Stranger,
}

/// Every postmaster's working directory is its cluster. Where the system does not show working directories (macOS),
/// Postgres's own check has to do.
fn holder(cluster: &Path, pid_file: &Path) -> Holder {
    let first_line = fs::read_to_string(pid_file).ok();
    let pid = first_line.and_then(|text| text.lines().next()?.trim().parse::<i32>().ok());
    let Some(process) = pid.map(|pid| PathBuf::from(format!("/proc/{pid}"))) else {
        return Holder::Nobody;
    };
    match (fs::read_link(process.join("cwd")), pid) {
        (Ok(works_in), Some(pid)) if works_in == cluster => Holder::Postmaster(pid),
        _ if process.exists() => Holder::Stranger,
        _ => Holder::Nobody,
    }
}

/// Opens a data directory that serves nothing else to the group of Postgres's user, for passing through only.
fn let_in(account: &Account, root: &Path) -> Result<(), StackError> {
    std::os::unix::fs::chown(root, None, Some(account.gid.as_raw()))
        .and_then(|()| fs::set_permissions(root, fs::Permissions::from_mode(0o710)))
        .map_err(StackError::io("change the permissions of", root))
}

fn elsewhere(link: &Path, account: Account) -> Result<Home, StackError> {
    let above = Path::new(ELSEWHERE);
    fs::create_dir_all(above).map_err(StackError::io("create", above))?;
    let dir = above.join(uuid::Uuid::now_v7().simple().to_string());
    files::make_private_dir(&dir)?;
    account.own(&dir)?;
    std::os::unix::fs::symlink(&dir, link).map_err(StackError::io("create the link", link))?;
    tracing::warn!(
        user = account.name, link = %link.display(), dir = %dir.display(),
        "Postgres runs as another user, who cannot reach the data directory; its files are elsewhere"
    );
    Ok(Home {
        dir,
        account: Some(account),
    })
}

fn remove_dir_if_any(path: &Path) -> Result<(), StackError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StackError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// A connection as superuser to the database `postgres`.
pub(super) fn connect_options(port: u16, password: &SecretString) -> PgConnectOptions {
    // Without this, PG* variables and ~/.pgpass meant for other servers would be read.
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(SUPERUSER)
        .password(password.expose_secret())
        .database("postgres")
        .ssl_mode(PgSslMode::Disable)
}
