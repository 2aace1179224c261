//! Servers for tests: one stack shared by the whole test run, started when first asked for, and private ones for tests
//! that do harm to theirs. All lie in directories that a small shell removes when the test process is gone, however it
//! ends; the servers themselves die with the process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use counterfoil::stack::{Stack, StackConfig};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

/// The stack of this test run. It outlives the runtimes of single tests, since it has a thread of its own.
pub fn shared_stack() -> &'static Stack {
    static SHARED: OnceLock<(TempDir, Stack)> = OnceLock::new();
    let (_, stack) = SHARED.get_or_init(|| {
        // Callers are inside runtimes of their own, in which nothing may block on another.
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let dir = TempDir::new();
            let stack = runtime.block_on(Stack::start(StackConfig::new(dir.path().join("data"))));
            (
                dir,
                stack.unwrap_or_else(|e| panic!("the tests' servers do not start: {e}")),
            )
        })
        .join()
        .expect("the shared stack starts")
    });
    stack
}

/// A stack of one's own, for tests that do harm to it, and the directory it lies in (below `data`).
pub async fn private_stack() -> (TempDir, Stack) {
    let dir = TempDir::new();
    let stack = Stack::start(StackConfig::new(dir.path().join("data")))
        .await
        .unwrap();
    (dir, stack)
}

/// Makes an empty database on the shared stack, and returns how to connect to it as superuser.
pub async fn create_database(name: &str) -> PgConnectOptions {
    assert!(
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
        "{name}"
    );
    let admin = shared_stack().endpoints().postgres_admin();
    let mut connection = admin.connect().await.unwrap();
    // A database's name cannot be a bound parameter; it was checked above.
    let create = format!("CREATE DATABASE {name}");
    sqlx::query(&create).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    admin.database(name)
}

/// Copies a directory with all that is in it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A directory that goes when its owner does.
pub struct TempDir {
    path: PathBuf,
    remover: Child,
}

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("counterfoil-test-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&path).unwrap();
        let remover = Command::new("/bin/sh")
            // Servers that were killed with the test process may still write while they end.
            .args([
                "-c",
                "cat; for pause in 0 1 5; do sleep $pause; rm -rf -- \"$1\" && exit; done",
                "sh",
            ])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { path, remover }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _status = self.remover.wait();
    }
}
