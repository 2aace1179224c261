//! `counterfoil audit reconcile` as a process: exit codes, and what people and machines read.

use std::process::{Command, Output};

use counterfoil_events::backbone::RelayOptions;
use counterfoil_events::ids::Position;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::support::backbone::{TestBackbone, append};
use crate::support::binary::binary;
use crate::support::ledger::TestLedger;
use crate::support::stack::{TempDir, shared_stack};

async fn reconcile(ledger: &TestLedger, backbone: &TestBackbone, arguments: &[&str]) -> Output {
    let (directory, endpoints) = (TempDir::new(), shared_stack().endpoints());
    let mut command = Command::new(binary());
    command
        .args(["audit", "reconcile"])
        .args(arguments)
        .current_dir(directory.path())
        .env_remove("COUNTERFOIL_CONFIG")
        .env_remove("COUNTERFOIL_ROOT_FINGERPRINT")
        .env("COUNTERFOIL_POSTGRES__HOST", ledger.admin.get_host())
        .env("COUNTERFOIL_POSTGRES__PORT", ledger.admin.get_port().to_string())
        .env(
            "COUNTERFOIL_POSTGRES__DATABASE",
            ledger.admin.get_database().unwrap(),
        )
        .env("COUNTERFOIL_POSTGRES__TLS", "disable")
        .env("COUNTERFOIL_POSTGRES__LOG_PASSWORD", "only-for-tests")
        .env("COUNTERFOIL_NATS__URL", &endpoints.nats_url)
        .env("COUNTERFOIL_NATS__USER", endpoints.nats_user)
        .env(
            "COUNTERFOIL_NATS__PASSWORD",
            endpoints.nats_password.expose_secret(),
        )
        .env("COUNTERFOIL_NATS__PREFIX", backbone.backbone.prefix().to_string())
        .env(
            "COUNTERFOIL_NATS__STREAM_MAX_BYTES",
            backbone.backbone.settings().max_bytes.to_string(),
        );
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    output.await.unwrap()
}

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part).into_owned());
    parts.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_finds_a_loss_with_exit_code_1_and_repairs_it_with_0() {
    let ledger = TestLedger::new().await;
    append(&ledger, ledger.tenant, 20).await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    let clean = reconcile(&ledger, &backbone, &[]).await;
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean));
    assert!(
        text(&clean).contains("Postgres and JetStream agree"),
        "{}",
        text(&clean)
    );

    backbone.delete(ledger.tenant, Position(7)).await;
    let found = reconcile(&ledger, &backbone, &[]).await;
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    assert!(
        text(&found).contains("the stream lacks 1 events (middle: 7 to 7)"),
        "{}",
        text(&found)
    );
    let machine = reconcile(&ledger, &backbone, &["--json"]).await;
    assert_eq!(machine.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&machine.stdout).unwrap();
    let tenants = json["found"]["partitions"][0]["tenants"].as_array().unwrap();
    let tenant = tenants
        .iter()
        .find(|report| report["tenant"] == ledger.tenant.to_string());
    let gap = &tenant.unwrap()["missing_in_stream"][0];
    assert_eq!(
        gap,
        &serde_json::json!({ "part": "middle", "first": 7, "last": 7 })
    );

    let repaired = reconcile(&ledger, &backbone, &["--repair"]).await;
    assert_eq!(repaired.status.code(), Some(0), "{}", text(&repaired));
    assert!(
        text(&repaired).contains("partition 0: the stream was made anew and filled from Postgres"),
        "{}",
        text(&repaired)
    );
    backbone.until_equal(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_without_nats_is_unavailable() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    // A port on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("nats://{}", free.local_addr().unwrap());
    let address = format!("nats.url={server}");
    drop(free);
    let output = reconcile(&ledger, &backbone, &["--set", &address]).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let said = format!("NATS at {server} does not answer");
    assert!(text(&output).contains(&said), "{}", text(&output));
}
