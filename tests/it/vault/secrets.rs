//! The vault as it runs; and then a search for the secret in every copy, log and error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};

use super::scene::{KeyProcess, PLATFORM, Scene};
use crate::faults::canary::copies;
use crate::support::provider::MODELS;

const FIRST: &str = "zq7-vault-canary-first";
const SECOND: &str = "zq7-vault-canary-second";

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_key_comes_from_the_vault_and_each_use_names_its_version() {
    let scene = Scene::new().await;
    let missing = scene.complete().await;
    assert_eq!(missing.status, 503, "no secret yet: {}", missing.text);

    scene.store(FIRST).await.good();
    assert_eq!(scene.store(FIRST).await.status, 409, "stored once");
    scene.complete().await.good();
    assert_eq!(scene.sent(), FIRST);
    scene.rotate(SECOND).await.good();
    scene.complete().await.good();
    assert_eq!(scene.sent(), SECOND);

    let named: Vec<Value> = scene
        .payloads("CompletionAuthorized")
        .await
        .into_iter()
        .map(|payload| payload["secret"].clone())
        .collect();
    let version =
        |version: u32| json!({"tenant": uuid::Uuid::nil(), "secret": "standin", "version": version});
    assert_eq!(named, [version(1), version(2)]);
    scene.keys.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_key_process_away_known_keys_serve_on_and_a_new_process_does_not_start() {
    let mut scene = Scene::new().await;
    scene.store(FIRST).await.good();
    scene.complete().await.good();
    scene.keys.kill().await;
    scene.complete().await.good();

    // Another organisation's key was not asked for before: nothing of it can be sealed, and /ready says why.
    let made = json!({"kind": "company", "name": "Another"});
    let made = scene.server.post("/v1/organisations", &made).await.good();
    let path = format!("/v1/tenants/{}/secrets", made["home_tenant"].as_str().unwrap());
    let secret = json!({"name": "theirs", "purpose": "source_credential", "value": SECOND});
    assert_eq!(scene.server.post(&path, &secret).await.status, 503);
    let degraded = |_: u16, ready: &Value| {
        let kms = &ready["components"]["kms"];
        kms["health"] == "degraded"
            && kms["reason"]
                .as_str()
                .unwrap()
                .contains("1 cached keys, the first until ")
    };
    scene.server.until_ready("the KMS is missed", degraded).await;
    scene.server.stop().await;

    let refused = scene.installation.try_serve(&[]).await.err().expect("no start");
    assert_eq!(refused.status.code(), Some(3));
    let said = std::fs::read_to_string(scene.installation.log_file()).unwrap();
    assert!(said.contains("cannot be opened or sealed now"), "{said}");
    scene.keys = KeyProcess::start(scene.directory.path()).await;
    scene.server = scene.installation.serve().await;
    scene.server.post(&path, &secret).await.good();
    scene.complete().await.good();
    let well = |_: u16, ready: &Value| ready["components"]["kms"]["health"] == "ok";
    scene.server.until_ready("the KMS is there", well).await;
    scene.keys.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_rows_do_not_open_and_a_retired_secret_leaves_no_ciphertext() {
    let scene = Scene::new().await;
    scene.store(FIRST).await.good();
    let mut admin = scene.installation.admin().connect().await.unwrap();
    let other = json!({"name": "other", "purpose": "provider_key", "value": SECOND});
    scene.server.post(PLATFORM, &other).await.good();
    // Everything of the other's row but its place; the digest is what the log says.
    let swap = "UPDATE counterfoil.secret_versions s SET sealed = o.sealed, data_key = o.data_key, wrapped = o.wrapped \
                FROM counterfoil.secret_versions o WHERE s.secret = 'standin' AND o.secret = 'other'";
    sqlx::query(swap).execute(&mut admin).await.unwrap();
    let shut = scene.complete().await;
    assert_eq!(shut.status, 503, "{}", shut.text);
    let denied = scene.payloads("CompletionDenied").await;
    assert_eq!(denied.last().unwrap()["step"], "routing.vault_key");
    assert!(scene.provider.calls(MODELS[0]).is_empty());

    let retire = format!("{PLATFORM}/standin/retire");
    let reason = json!({ "reason": "account_closed" });
    scene.server.post(&retire, &reason).await.good();
    assert_eq!(scene.server.post(&retire, &reason).await.status, 409);
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM counterfoil.secret_versions WHERE secret = 'standin'")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    assert_eq!(left, 0);
    admin.close().await.unwrap();
    scene.keys.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_rotate_at_one_time_those_that_the_log_refuses_leave_no_ciphertext() {
    let scene = Scene::new().await;
    scene.store(FIRST).await.good();
    let rotations = futures::future::join_all((0..12).map(|_| scene.rotate(SECOND))).await;
    let done = rotations.iter().filter(|reply| reply.status == 200).count();
    assert!(done >= 1, "{}", rotations[0].text);
    let mut admin = scene.installation.admin().connect().await.unwrap();
    let query = "SELECT count(*) FROM counterfoil.secret_versions WHERE secret = 'standin'";
    let kept: i64 = sqlx::query_scalar(query).fetch_one(&mut admin).await.unwrap();
    assert_eq!(
        usize::try_from(kept).unwrap(),
        1 + done,
        "each is named by an event"
    );
    admin.close().await.unwrap();
    scene.keys.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_no_table_message_log_or_error_and_neither_is_the_kek() {
    let scene = Scene::new().await;
    let errors = [
        scene.store(&format!("{FIRST}\nbroken")).await.text,
        scene
            .server
            .post(
                PLATFORM,
                &json!({"name": "standin", "purpose": "none", "value": FIRST}),
            )
            .await
            .text,
        scene
            .server
            .post(PLATFORM, &json!({"name": "standin", "value": [FIRST]}))
            .await
            .text,
    ];
    scene.store(FIRST).await.good();
    scene.complete().await.good();
    let figures = scene.server.get("/metrics").await.text;
    let kek = std::fs::read_to_string(scene.directory.path().join("kek/kek-1.key")).unwrap();
    let limit = std::fs::read_to_string(format!("/proc/{}/limits", scene.keys.pid())).unwrap();
    let core = limit
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    scene.server.stop().await;
    scene.keys.stop().await;

    let wanted = [FIRST.to_owned(), hex::encode(FIRST), kek.trim().to_owned()];
    let log = std::fs::read_to_string(scene.installation.log_file()).unwrap();
    let copies = [
        ("tables", copies::tables(&scene.installation).await),
        ("stream", copies::messages(&scene.installation).await),
        ("log", log),
        ("figures", figures),
        ("errors", errors.join("\n")),
    ];
    for (place, text) in copies {
        let found = copies::found(place, &text, &wanted);
        assert!(found.is_empty(), "{found:?}");
    }
}
