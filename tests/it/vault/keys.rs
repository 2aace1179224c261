//! Keys are followed by others while requests go on: the key-encryption key, and an organisation's own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::scene::{KeyProcess, PLATFORM, Scene};

const VALUE: &str = "zq7-vault-canary-rotation";

/// Completes over and over while `work` goes on, and at least once in it; every answer has to be good.
async fn while_completing<T>(scene: &Scene, work: impl Future<Output = T>) -> T {
    let (over, done) = (AtomicBool::new(false), AtomicU32::new(0));
    let completing = async {
        while !over.load(Ordering::Relaxed) || done.load(Ordering::Relaxed) == 0 {
            scene.complete().await.good();
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let working = async {
        let worked = work.await;
        over.store(true, Ordering::Relaxed);
        worked
    };
    let ((), worked) = tokio::join!(completing, working);
    worked
}

async fn admin(scene: &Scene) -> PgConnection {
    scene.installation.admin().connect().await.unwrap()
}

/// By which versions of the KEK organisations' keys are wrapped, and by which of these keys data keys are.
async fn wrapped_by(scene: &Scene) -> (Vec<String>, Vec<i32>) {
    let mut admin = admin(scene).await;
    let keks = sqlx::query_scalar("SELECT DISTINCT kek FROM counterfoil.organisation_keys ORDER BY kek");
    let keks = keks.fetch_all(&mut admin).await.unwrap();
    let keys = "SELECT DISTINCT organisation_key FROM counterfoil.secret_versions ORDER BY 1";
    let keys = sqlx::query_scalar(keys).fetch_all(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    (keks, keys)
}

async fn rotate_key(scene: &Scene, organisation: &str) -> Value {
    let rotate = ["kms", "rotate-key", organisation, "--json"];
    serde_json::from_str(&scene.installation.good(&rotate).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_of_the_kek_takes_over_while_requests_go_on_and_the_old_one_can_go() {
    let mut scene = Scene::new().await;
    scene.store(VALUE).await.good();
    scene.complete().await.good();
    let kek = scene.directory.path().join("kek");
    let add_version = ["kms", "add-version", "--keys", kek.to_str().unwrap()];
    let made = scene.installation.good(&add_version).await;
    assert!(made.contains("made version 2"), "{made}");
    // The old process knows the old version alone; the new one is there a moment later, and nobody has missed it.
    while_completing(&scene, async {
        scene.installation.good(&["kms", "rewrap"]).await;
    })
    .await;
    assert_eq!(wrapped_by(&scene).await.0, ["local/1"]);
    scene.keys.kill().await;
    scene.keys = KeyProcess::start(scene.directory.path()).await;
    let said = while_completing(&scene, scene.installation.good(&["kms", "rewrap"])).await;
    // The platform's key, and the signing key.
    assert!(said.contains("wrapped 2 keys anew"), "{said}");
    assert_eq!(wrapped_by(&scene).await.0, ["local/2"]);
    let again = scene.installation.good(&["kms", "rewrap"]).await;
    assert!(again.contains("wrapped 0 keys anew"), "{again}");

    scene.keys.kill().await;
    std::fs::remove_file(kek.join("kek-1.key")).unwrap();
    scene.keys = KeyProcess::start(scene.directory.path()).await;
    scene.server.stop().await;
    scene.server = scene.installation.serve().await;
    scene.complete().await.good();
    assert_eq!(scene.sent(), VALUE);
    scene.keys.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_key_is_rotated_while_requests_go_on_and_a_rotation_cut_off_goes_on() {
    let scene = Scene::new().await;
    scene.store(VALUE).await.good();
    scene.rotate(VALUE).await.good();
    // Another organisation's is no business of this rotation.
    let made = json!({"kind": "company", "name": "Another"});
    let made = scene.server.post("/v1/organisations", &made).await.good();
    let theirs = format!("/v1/tenants/{}/secrets", made["home_tenant"].as_str().unwrap());
    let secret = json!({"name": "theirs", "purpose": "source_credential", "value": VALUE});
    scene.server.post(&theirs, &secret).await.good();

    let rotated = while_completing(&scene, rotate_key(&scene, "platform")).await;
    assert_eq!(
        (&rotated["number"], &rotated["data_keys"], &rotated["resumed"]),
        (&json!(2), &json!(2), &json!(false)),
        "{rotated}"
    );
    assert_eq!(wrapped_by(&scene).await.1, [1, 2]);
    assert_eq!(scene.payloads("VaultKeyRotated").await, [json!({"number": 2})]);
    scene.complete().await.good();
    let another = json!({"name": "another", "purpose": "provider_key", "value": VALUE});
    scene.server.post(PLATFORM, &another).await.good();

    // As if it had been cut off after its event, and after some rows.
    let mut admin = admin(&scene).await;
    let undo = "UPDATE counterfoil.secret_versions SET organisation_key = o.organisation_key, wrapped = o.wrapped FROM kept o \
                WHERE secret_versions.secret = o.secret AND secret_versions.version = o.version";
    let keep = "CREATE TABLE kept AS SELECT * FROM counterfoil.secret_versions WHERE secret = 'standin' AND version = 2";
    sqlx::query(keep).execute(&mut admin).await.unwrap();
    let rotated = rotate_key(&scene, "platform").await;
    assert_eq!(
        (&rotated["number"], &rotated["data_keys"]),
        (&json!(3), &json!(3)),
        "{rotated}"
    );
    sqlx::query(undo).execute(&mut admin).await.unwrap();
    sqlx::query("DROP TABLE kept").execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    scene.complete().await.good();
    let resumed = rotate_key(&scene, "platform").await;
    assert_eq!(
        (&resumed["number"], &resumed["data_keys"], &resumed["resumed"]),
        (&json!(3), &json!(1), &json!(true)),
        "{resumed}"
    );
    scene.complete().await.good();
    assert_eq!(scene.sent(), VALUE);
    let nobody = uuid::Uuid::now_v7().to_string();
    let refused = scene.installation.run(&["kms", "rotate-key", &nobody]).await;
    assert_eq!(refused.status.code(), Some(2));
    scene.installation.good(&["audit", "verify"]).await;
    scene.keys.stop().await;
}
