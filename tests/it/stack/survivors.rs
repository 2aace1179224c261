//! What a crash leaves: no process, and data that the next start goes on from.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use counterfoil::stack::{Stack, StackConfig};

use crate::support::binary::{StackProcess, binary, descendants, wait_until_gone};
use crate::support::servers::{find_the_mark, leave_a_mark};
use crate::support::stack::{TempDir, private_stack};

#[tokio::test]
async fn after_kill_9_no_server_survives_and_the_next_start_finds_the_data() {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    // Data to be found again, made by a stack whose passwords we hold.
    let stack = Stack::start(StackConfig::new(&data)).await.unwrap();
    leave_a_mark(stack.endpoints()).await;
    stack.stop().await;

    let process = StackProcess::start(&data);
    let family = descendants(process.pid());
    assert!(
        process.server_pids().iter().all(|pid| family.contains(pid)),
        "{family:?}"
    );
    assert!(family.len() > 3, "Postgres has processes of its own: {family:?}");
    process.kill9();
    wait_until_gone(&family);

    let stack = Stack::start(StackConfig::new(&data)).await.unwrap();
    find_the_mark(stack.endpoints()).await;
    stack.stop().await;
}

#[test]
fn a_start_right_after_kill_9_succeeds_at_the_same_addresses() {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    let mut process = StackProcess::start(&data);
    for _ in 0..3 {
        let before = process.addresses.clone();
        process.kill9();
        process = StackProcess::start(&data);
        for field in ["postgres_port", "nats_url", "redis_port"] {
            assert_eq!(process.addresses[field], before[field], "{field}");
        }
    }
    process.interrupt();
}

/// After a reboot, say. Postgres alone would refuse to start: the process id in its lock file is alive.
#[tokio::test]
async fn a_lock_file_whose_process_id_a_stranger_has_now_hinders_no_start() {
    let (dir, stack) = private_stack().await;
    leave_a_mark(stack.endpoints()).await;
    let cluster = stack.data_dir().join("postgres/data");
    let lock_file = cluster.join("postmaster.pid");
    let locked = std::fs::read_to_string(&lock_file).unwrap();
    stack.stop().await;

    let owner = cluster.metadata().unwrap();
    let mut stranger = Command::new("sleep")
        .arg("600")
        .uid(owner.uid())
        .gid(owner.gid())
        .spawn()
        .unwrap();
    let (_, rest) = locked.split_once('\n').unwrap();
    std::fs::write(&lock_file, format!("{}\n{rest}", stranger.id())).unwrap();
    chown(&lock_file, Some(owner.uid()), Some(owner.gid())).unwrap();
    let stack = Stack::start(StackConfig::new(dir.path().join("data"))).await;
    assert!(
        stranger.try_wait().unwrap().is_none(),
        "the stranger is left alone"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let stack = stack.unwrap();
    find_the_mark(stack.endpoints()).await;
    stack.stop().await;
}

/// Kills spread over the first start: before the directory is made, during initdb, while the servers start.
#[test]
fn a_first_start_that_is_killed_at_any_moment_can_be_repeated() {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    for after_ms in [5, 50, 150, 400, 800, 1200, 1600, 2000] {
        let mut command = Command::new(binary());
        command
            .args(["stack", "run", "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    StackProcess::start(&data).interrupt();
    assert!(
        !data.join("postgres").is_symlink(),
        "a kill does not make Postgres's files move elsewhere"
    );
}

#[test]
fn a_second_process_on_the_directory_is_refused_with_exit_3_and_the_first_ones_id() {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    let first = StackProcess::start(&data);
    let second = Command::new(binary())
        .args(["stack", "run", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(3));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains(&format!("in use by counterfoil process {}", first.pid())),
        "{said}"
    );
    first.interrupt();
}

#[test]
fn ctrl_c_ends_everything_in_order() {
    let dir = TempDir::new();
    let data = dir.path().join("data");
    let process = StackProcess::start(&data);
    let family = descendants(process.pid());
    process.interrupt();
    wait_until_gone(&family);
    let log = std::fs::read_to_string(data.join("logs/postgres.log")).unwrap();
    assert!(log.contains("database system is shut down"), "{log}");
}
