//! Postgres dies under load, in every way it can: no request is acknowledged that is not in the log, what could not be
//! done is a 503, and the process goes on by itself when Postgres is back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use counterfoil::stack::{ServerKind, Stack};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::ConnectOptions;

use super::site::Site;
use crate::support::invariants::Checker;
use crate::support::random::Random;
use crate::support::stack::private_stack;

/// Kills one backend of the log's role that is at work: Postgres ends all others and recovers.
async fn kill_a_backend(stack: &Stack, database: &str) {
    let mut superuser = stack.endpoints().postgres_admin().connect().await.unwrap();
    let find = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND usename = 'counterfoil_log' LIMIT 1";
    let pid: i32 = sqlx::query_scalar(find)
        .bind(database)
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_dies_costs_answers_and_never_an_event() {
    let mut random = Random::seeded();
    let (_dir, stack) = private_stack().await;
    let mut site = Site::new(stack.endpoints()).await;
    let mut serving = site.serve().await;
    let load = site.load(&mut random);
    for death in 0..8 {
        load.seen.progress(40).await;
        match death % 4 {
            0 => stack.kill9(ServerKind::Postgres).await.unwrap(),
            1 => kill_a_backend(&stack, &site.installation.config.postgres.database).await,
            // Immediate shutdown: no checkpoint, no farewell.
            2 => stack.signal(ServerKind::Postgres, Signal::SIGQUIT).await.unwrap(),
            _ => stack.restart(ServerKind::Postgres).await.unwrap(),
        }
    }
    load.seen.progress(40).await;
    let errors = load.seen.errors();
    // The checker's own connections have died too.
    site.checker = Checker::of(&site.installation).await;
    site.finish(load).await;
    let names: BTreeSet<u16> = errors
        .keys()
        .map(|(status, _)| *status)
        .filter(|status| *status >= 500)
        .collect();
    assert_eq!(names, BTreeSet::from([503]), "{errors:?}");
    assert!(
        serving.ended_within(Duration::ZERO).await.is_none(),
        "the process has survived"
    );
    serving.stop().await;
    stack.stop().await;
}
