//! Finding the servers' programs: old ones are refused by name, and do not hide newer ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use counterfoil::stack::{SearchPath, Stack, StackConfig};

use crate::support::stack::TempDir;

fn fake(dir: &Path, name: &str, says: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn refusal(dir: &TempDir, search_path: SearchPath) -> String {
    let mut config = StackConfig::new(dir.path().join("data"));
    config.search_path = search_path;
    Stack::start(config).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_nats_server_that_is_too_old_is_refused_by_version_and_path() {
    let dir = TempDir::new();
    let old = fake(dir.path(), "nats-server", "nats-server: v2.9.10");
    let refusal = refusal(&dir, SearchPath::of([dir.path().to_path_buf()])).await;
    let expected = format!(
        "a NATS server (nats-server) of version 2.10 or newer is needed (found version 2.9 at {}); run `make` in \
         the source tree (it runs deploy/dev/setup.sh), or install it and put it on the PATH",
        old.display()
    );
    assert_eq!(refusal, expected);
}

#[tokio::test]
async fn a_server_that_is_not_installed_is_named_with_what_to_do() {
    let dir = TempDir::new();
    fake(dir.path(), "nats-server", "nats-server: v2.11.4");
    fake(dir.path(), "redis-server", "Redis server v=7.0.15 sha=0");
    let refusal = refusal(&dir, SearchPath::of([dir.path().to_path_buf()])).await;
    assert!(
        refusal.starts_with("PostgreSQL 15, 16 or 17 is needed and was not found; run `make`"),
        "{refusal}"
    );
}

#[tokio::test]
async fn an_old_program_does_not_hide_a_newer_one() {
    let dir = TempDir::new();
    fake(dir.path(), "nats-server", "nats-server: v2.9.10");
    let mut config = StackConfig::new(dir.path().join("data"));
    config.search_path = SearchPath::of([dir.path().to_path_buf()]).then(SearchPath::of_this_machine());
    Stack::start(config).await.unwrap().stop().await;
}
