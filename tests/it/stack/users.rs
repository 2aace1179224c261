//! Root and ordinary users. Each test says what it asserts when it runs as the one and as the other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use counterfoil::stack::{ServerKind, Stack, StackConfig, StackError};
use nix::unistd::{Uid, User};

use crate::support::binary::{StackProcess, binary, uid_of};
use crate::support::servers::{find_the_mark, leave_a_mark};
use crate::support::stack::{TempDir, shared_stack};

/// A user without any rights of its own, who is on every system.
fn nobody() -> u32 {
    User::from_name("nobody").unwrap().unwrap().uid.as_raw()
}

fn we_are_root() -> bool {
    Uid::effective().is_root()
}

#[tokio::test]
async fn postgres_never_runs_as_root_and_owns_its_data() {
    let stack = shared_stack();
    let uid = uid_of(stack.pid(ServerKind::Postgres).unwrap());
    assert_ne!(uid, 0);
    assert_eq!(uid, stack.data_dir().join("postgres").metadata().unwrap().uid());
    if !we_are_root() {
        assert_eq!(uid, Uid::effective().as_raw());
    }
}

#[tokio::test]
async fn passwords_are_in_no_command_line_and_in_files_that_nobody_else_reads() {
    let stack = shared_stack();
    let text = std::fs::read_to_string(stack.credentials_file()).unwrap();
    let passwords: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(passwords.len(), 3);
    let output = Command::new("ps")
        .args(["-e", "-ww", "-o", "args="])
        .output()
        .unwrap();
    let command_lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(command_lines.contains(stack.data_dir().to_str().unwrap()));
    for password in passwords.values() {
        assert!(!command_lines.contains(password.as_str().unwrap()));
    }
    for file in [
        "credentials.json",
        "nats/nats.conf",
        "redis/redis.conf",
        "logs/postgres.log",
    ] {
        let mode = stack
            .data_dir()
            .join(file)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
}

/// As root: the program run by an ordinary user, in a directory that this user owns. As an ordinary user: the same
/// without changing users. Either way Postgres runs as that user.
#[test]
fn an_ordinary_user_runs_the_servers_as_himself() {
    let dir = TempDir::new();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let mut program = Command::new(binary());
    let mut uid = Uid::effective().as_raw();
    if we_are_root() {
        uid = nobody();
        chown(&home, Some(uid), Some(uid)).unwrap();
        // The build directory may be out of that user's reach.
        program = Command::new(within_reach(dir.path(), &binary()));
        program
            .env("PATH", tools_within_reach(dir.path()))
            .uid(uid)
            .gid(uid);
    }
    program.current_dir(&home);
    let process = StackProcess::spawn(program, &home.join("data"));
    for pid in process.server_pids() {
        assert_eq!(uid_of(pid), uid);
    }
    process.interrupt();
}

/// As root: Postgres's files go where its user can reach them. As an ordinary user: nothing needs to move.
#[tokio::test]
async fn a_data_directory_below_a_closed_one_works() {
    let dir = TempDir::new();
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let data = closed.join("data");
    let stack = Stack::start(StackConfig::new(&data)).await.unwrap();
    leave_a_mark(stack.endpoints()).await;
    stack.stop().await;
    let stack = Stack::start(StackConfig::new(&data)).await.unwrap();
    find_the_mark(stack.endpoints()).await;
    stack.stop().await;

    let home = data.join("postgres");
    assert_eq!(home.is_symlink(), we_are_root());
    if we_are_root() {
        let real = home.read_link().unwrap();
        assert_eq!(real.parent(), Some(Path::new("/var/lib/counterfoil")));
        std::fs::remove_dir_all(real).unwrap();
    }
}

/// As root: a directory whose owner is another user is refused, since root's files would lock him out. As an ordinary
/// user: another's directory cannot be had for a test, so that our own is accepted is asserted instead.
#[tokio::test]
async fn the_directory_of_another_user_is_refused() {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("lock"), "").unwrap();
    if we_are_root() {
        chown(data.join("lock"), Some(nobody()), None).unwrap();
        let refused = Stack::start(StackConfig::new(&data)).await.unwrap_err();
        assert!(
            matches!(&refused, StackError::OwnedByAnother { dir, .. } if *dir == data),
            "{refused}"
        );
    } else {
        Stack::start(StackConfig::new(&data)).await.unwrap().stop().await;
    }
}

fn within_reach(dir: &Path, program: &Path) -> PathBuf {
    let copy = dir.join(program.file_name().unwrap());
    std::fs::copy(program, &copy).unwrap();
    copy
}

/// A `PATH` with the source tree's tools copied to `dir`.
fn tools_within_reach(dir: &Path) -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".counterfoil/tools/bin");
    for program in tools
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
    {
        match program.read_link() {
            Ok(target) => symlink(target, dir.join(program.file_name().unwrap())).unwrap(),
            Err(_) => drop(within_reach(dir, &program)),
        }
    }
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}
