//! Private Postgres: the truth. Durable (fsync, full page writes and checksums on), reachable over loopback and a socket
//! in its own directory only (see `home.rs`), with a generated superuser password (SCRAM everywhere).

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::binaries::Binaries;
use super::child::Launch;
use super::data_dir::DataDir;
use super::error::StackError;
use super::home::Home;
use super::probe::Probe;
use super::server::{ServerKind, ServerSpec};
use super::{files, logs};

pub(super) const SUPERUSER: &str = "postgres";

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

/// Makes the cluster if there is none. Made beside its place and renamed, so that one that exists is whole.
pub(super) async fn init(
    home: &Home,
    binaries: &Binaries,
    password: &SecretString,
) -> Result<(), StackError> {
    let cluster = home.cluster();
    if cluster.exists() {
        return Ok(());
    }
    let unfinished = home.dir.join("data.new");
    files::remove_dir_if_any(&unfinished)?;
    let password_file = home.dir.join("password");
    files::write_private(&password_file, password.expose_secret().as_bytes())?;
    if let Some(account) = &home.account {
        account.own(&password_file)?;
    }
    let made = run_initdb(home, binaries, &unfinished, &password_file).await;
    fs::remove_file(&password_file).map_err(StackError::io("remove", &password_file))?;
    made?;
    fs::rename(&unfinished, &cluster).map_err(StackError::io("rename", &unfinished))
}

async fn run_initdb(
    home: &Home,
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
    run(home, &binaries.initdb, &args).await
}

/// Says how to run Postgres on `port`; `extra` settings come last and win.
pub(super) async fn spec(
    home: &Home,
    data_dir: &DataDir,
    binaries: &Binaries,
    port: u16,
    password: &SecretString,
    extra: &[(String, String)],
) -> ServerSpec {
    let mut args: Vec<OsString> = vec!["-D".into(), home.cluster().into()];
    let mut set = |name: &str, value: &str| args.extend(["-c".into(), format!("{name}={value}").into()]);
    set("port", &port.to_string());
    set("unix_socket_directories", &socket_setting(home));
    set("wal_compression", wal_compression(home, &binaries.postgres).await);
    SETTINGS.iter().for_each(|(name, value)| set(name, value));
    extra.iter().for_each(|(name, value)| set(name, value));
    ServerSpec {
        kind: ServerKind::Postgres,
        program: binaries.postgres.clone(),
        args,
        dir: home.dir.clone(),
        account: home.account.clone(),
        before_start: {
            let home = home.clone();
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

/// LZ4 where this Postgres was built with it: it costs a tenth of the built-in method's time. Postgres itself is
/// asked, since its version does not tell.
async fn wal_compression(home: &Home, postgres: &Path) -> &'static str {
    let args = [
        "-D".into(),
        home.cluster().into(),
        "-c".into(),
        "wal_compression=lz4".into(),
    ];
    let ask = ["-C".into(), "wal_compression".into()];
    let answer = run(home, postgres, &[&args[..], &ask[..]].concat()).await;
    if answer.is_ok() { "lz4" } else { "on" }
}

/// No socket at all where the directory's path is too long for one: connections then use loopback only.
fn socket_setting(home: &Home) -> String {
    let dir = home.socket_dir();
    // A comma separates directories in this setting, and cannot be part of one.
    let usable = dir.as_os_str().len() <= SOCKET_DIR_MAX_BYTES;
    dir.to_str()
        .filter(|text| usable && !text.contains(','))
        .unwrap_or_default()
        .to_owned()
}

async fn run(home: &Home, program: &Path, args: &[OsString]) -> Result<(), StackError> {
    let launch = Launch {
        program,
        args,
        dir: &home.dir,
        account: home.account.as_ref(),
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
