//! Head notes as an auditor meets them: fetched over HTTP, kept in a file, held against the log.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use counterfoil::audit::{AuditError, HeadNotes};
use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::Database;
use counterfoil_events::signature::KeyPair;
use counterfoil_events::timestamp::SystemClock;
use serde_json::Value;

use crate::support::installation::Installation;
use crate::support::ledger::TestLedger;
use crate::support::proxy::Proxy;
use crate::support::world::World;

async fn noted(installation: &Installation, tenant: TenantId) {
    installation
        .good(&["audit", "head-note", "--tenant", &tenant.to_string()])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_fetched_over_http_holds_the_log_to_its_end() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    noted(&installation, world.tenant).await;
    world.register_agent(&server, "second", &["demo-small"]).await;
    noted(&installation, world.tenant).await;

    let latest = server.get(&world.path("/head-notes/latest")).await.good();
    let first = server.get(&world.path("/head-notes?limit=1")).await.good();
    let cursor = first["next"].as_str().unwrap();
    let second = server
        .get(&world.path(&format!("/head-notes?limit=1&cursor={cursor}")))
        .await
        .good();
    assert_eq!(second["items"][0], latest);
    assert_eq!(second["next"], Value::Null);
    let position = |note: &Value| note["position"].as_u64().unwrap();
    assert_eq!(position(&first["items"][0]) + 1, position(&latest));

    let file = installation.directory().join("head.note");
    std::fs::write(&file, latest["note"].as_str().unwrap()).unwrap();
    let file = file.to_str().unwrap();
    installation.good(&["audit", "verify", "--head-note", file]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_a_note_and_one_that_does_not_exist_have_none() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let nobody = TenantId::generate();
    let latest = server
        .get(&format!("/v1/tenants/{nobody}/head-notes/latest"))
        .await;
    assert_eq!(latest.status, 404);
    let all = server
        .get(&format!("/v1/tenants/{nobody}/head-notes"))
        .await
        .good();
    assert_eq!(all["items"], serde_json::json!([]));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_its_connection_not_used_again() {
    let ledger = TestLedger::new().await;
    let proxy = Proxy::start(ledger.admin.get_host().to_owned(), ledger.admin.get_port()).await;
    let mut options = ledger.options.clone();
    options.server = options.server.port(proxy.port());
    // One connection: whoever holds it holds up everybody.
    options.sizes.log = 1;
    let (database, key) = (Database::new(&options), KeyPair::from_seed(&[7; 32]));
    let notes = HeadNotes::new(database.log().clone(), Arc::new(key), Arc::new(SystemClock));
    notes.note(TenantId::PLATFORM).await.unwrap();
    // It goes back to the pool by a task of its own.
    while database.log().num_idle() == 0 {
        tokio::task::yield_now().await;
    }

    proxy.silence(true);
    let silent = notes.latest(TenantId::PLATFORM).await.unwrap_err();
    let given_up = matches!(&silent, AuditError::Postgres(sqlx::Error::Io(_)));
    assert!(given_up, "{silent}");
    proxy.silence(false);
    let latest = notes.latest(TenantId::PLATFORM).await.unwrap();
    assert!(latest.is_some());
    database.close().await;
}
