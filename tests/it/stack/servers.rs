//! A running stack: its servers answer, its data are found again, its directory is its own, its servers come back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::time::Duration;

use counterfoil::stack::{ServerKind, ServerState, Stack, StackConfig, StackError};
use sqlx::{ConnectOptions, Connection};

use crate::support::binary::{descendants, is_alive, wait_until_gone};
use crate::support::servers::{find_the_mark, jetstream_of, leave_a_mark, ping_redis};
use crate::support::stack::{TempDir, create_database, private_stack, shared_stack};

#[tokio::test]
async fn all_three_servers_answer() {
    let endpoints = shared_stack().endpoints();

    let mut connection = create_database("all_three_servers_answer")
        .await
        .connect()
        .await
        .unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(name, "all_three_servers_answer");
    connection.close().await.unwrap();

    jetstream_of(endpoints).await.query_account().await.unwrap();
    assert_eq!(ping_redis(endpoints).await, "PONG");
}

#[tokio::test]
async fn postgres_is_durable_and_reachable_with_its_password_only() {
    let admin = shared_stack().endpoints().postgres_admin();
    let mut connection = admin.connect().await.unwrap();
    for (name, expected) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("max_connections", "200"),
    ] {
        let setting: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(setting, expected, "{name}");
    }
    connection.close().await.unwrap();

    let refused = admin.password("guessed").connect().await.unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
    assert_eq!(code, "28P01", "{refused}");
}

#[tokio::test]
async fn nats_and_redis_refuse_strangers() {
    let endpoints = shared_stack().endpoints();
    let refused = async_nats::connect(&endpoints.nats_url).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        async_nats::ConnectErrorKind::AuthorizationViolation
    );

    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", endpoints.redis_port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let refused = redis::cmd("PING")
        .query_async::<String>(&mut connection)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"));
}

#[tokio::test]
async fn a_stop_leaves_nothing_running_and_the_next_start_finds_data_and_addresses() {
    let (dir, stack) = private_stack().await;
    leave_a_mark(stack.endpoints()).await;
    let before = stack.endpoints().clone();
    let pids = ServerKind::ALL.map(|kind| stack.pid(kind).unwrap());
    let backends = descendants(pids[ServerKind::Postgres as usize]);
    assert!(!backends.is_empty());
    stack.stop().await;
    assert_eq!(
        [&pids[..], &backends]
            .concat()
            .into_iter()
            .find(|pid| is_alive(*pid)),
        None
    );

    let stack = Stack::start(StackConfig::new(dir.path().join("data")))
        .await
        .unwrap();
    assert_eq!(stack.endpoints().postgres_port, before.postgres_port);
    assert_eq!(stack.endpoints().nats_url, before.nats_url);
    assert_eq!(stack.endpoints().redis_port, before.redis_port);
    find_the_mark(stack.endpoints()).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_port_that_somebody_took_meanwhile_is_given_up_for_another() {
    let (dir, stack) = private_stack().await;
    leave_a_mark(stack.endpoints()).await;
    let port = stack.endpoints().postgres_port;
    stack.stop().await;

    let _somebody = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let stack = Stack::start(StackConfig::new(dir.path().join("data")))
        .await
        .unwrap();
    assert_ne!(stack.endpoints().postgres_port, port);
    find_the_mark(stack.endpoints()).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_second_start_on_the_same_directory_is_refused_and_told_who_holds_it() {
    let held = shared_stack().data_dir();
    let refused = Stack::start(StackConfig::new(held)).await.unwrap_err();
    let us = std::process::id().to_string();
    assert!(
        matches!(&refused, StackError::InUse { dir, pid } if dir == held && *pid == us),
        "{refused}"
    );
    assert_eq!(ping_redis(shared_stack().endpoints()).await, "PONG");
}

#[tokio::test]
async fn a_killed_server_comes_back_at_its_address_with_its_data() {
    let (_dir, stack) = private_stack().await;
    leave_a_mark(stack.endpoints()).await;
    for kind in ServerKind::ALL {
        let before = stack.pid(kind);
        stack.kill9(kind).await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), stack.running(kind))
            .await
            .expect("it comes back")
            .unwrap();
        assert_ne!(stack.pid(kind), before);
    }
    find_the_mark(stack.endpoints()).await;
    assert_eq!(ping_redis(stack.endpoints()).await, "PONG");
    stack.stop().await;
}

#[tokio::test]
async fn a_halted_server_stays_down_until_it_is_resumed() {
    let (_dir, stack) = private_stack().await;
    leave_a_mark(stack.endpoints()).await;
    let pid = stack.pid(ServerKind::Nats).unwrap();
    stack.halt(ServerKind::Nats).await.unwrap();
    assert!(!is_alive(pid));
    assert_eq!(stack.state(ServerKind::Nats), ServerState::Stopped);
    let refused = stack.kill9(ServerKind::Nats).await.unwrap_err();
    assert!(matches!(refused, StackError::NotRunning(ServerKind::Nats)));

    stack.resume(ServerKind::Nats).await.unwrap();
    find_the_mark(stack.endpoints()).await;
    stack.restart(ServerKind::Postgres).await.unwrap();
    find_the_mark(stack.endpoints()).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_dropped_stack_ends_its_servers() {
    let (_dir, stack) = private_stack().await;
    let pids = ServerKind::ALL.map(|kind| stack.pid(kind).unwrap());
    drop(stack);
    wait_until_gone(&pids);
}

#[tokio::test]
async fn a_failed_start_quotes_the_servers_log_and_leaves_nothing_behind() {
    let dir = TempDir::new();
    let mut config = StackConfig::new(dir.path().join("data"));
    config.postgres_settings = vec![("max_connections".into(), "many".into())];
    let error = Stack::start(config).await.unwrap_err().to_string();
    assert!(
        error.starts_with("Postgres ended while starting (exit status: 1)"),
        "{error}"
    );
    assert!(error.contains("data/logs/postgres.log"), "{error}");
    assert!(
        error.contains("invalid value for parameter \"max_connections\": \"many\""),
        "{error}"
    );

    // The directory is free again, and good.
    Stack::start(StackConfig::new(dir.path().join("data")))
        .await
        .unwrap()
        .stop()
        .await;
}
