//! A real PgBouncer in transaction mode, with one session for all its clients: what one leaves in it, the next finds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use counterfoil::stack::Endpoints;
use nix::unistd::Uid;
use tokio::process::{Child, Command};

use super::ledger::PASSWORD;
use super::stack::TempDir;

/// How long it may take to listen: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running pooler; killed when dropped.
pub struct Pooler {
    _child: Child,
    _dir: TempDir,
    pub port: u16,
}

impl Pooler {
    /// Before these servers.
    pub async fn before(endpoints: &Endpoints) -> Self {
        let dir = TempDir::new();
        let port = free_port();
        let users = dir.path().join("users.txt");
        std::fs::write(&users, format!("\"counterfoil_app\" \"{PASSWORD}\"\n")).unwrap();
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, configuration(endpoints, port, &users)).unwrap();
        let mut command = Command::new(program());
        command.arg("-q").arg(&file);
        if Uid::effective().is_root() {
            // It refuses to run as root.
            command.args(["-u", "nobody"]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("PgBouncer is installed: deploy/dev/setup.sh --tests");
        let pooler = Self {
            _child: child,
            _dir: dir,
            port,
        };
        pooler.until_it_listens().await;
        pooler
    }

    async fn until_it_listens(&self) {
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            assert!(began.elapsed() < PATIENCE, "PgBouncer does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Nothing is ignored that a client sends, and nothing is reset between two clients.
fn configuration(endpoints: &Endpoints, port: u16, users: &Path) -> String {
    format!(
        "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\npool_mode = transaction\ndefault_pool_size = 1\nmax_client_conn = 50\n\
         auth_type = scram-sha-256\nauth_file = {}\n",
        endpoints.host,
        endpoints.postgres_port,
        users.display()
    )
}

fn program() -> PathBuf {
    let packaged = PathBuf::from("/usr/sbin/pgbouncer");
    match packaged.is_file() {
        true => packaged,
        false => PathBuf::from("pgbouncer"),
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
