//! The vault as it runs: the real key process, the real server, a provider that sees what it is sent; and then a search
//! for the secret in every copy, log and error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::faults::canary::copies;
use crate::support::binary::binary;
use crate::support::installation::Installation;
use crate::support::provider::{MODELS, PROVIDER_KEY, Provider};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::World;

const PLATFORM: &str = "/v1/tenants/00000000-0000-0000-0000-000000000000/secrets";
const FIRST: &str = "zq7-vault-canary-first";
const SECOND: &str = "zq7-vault-canary-second";

/// `counterfoil kms serve`; killed when dropped.
pub struct KeyProcess(Child);

impl KeyProcess {
    pub async fn start(directory: &Path) -> Self {
        let mut child = Command::new(binary())
            .args([
                "kms", "serve", "--create", "--keys", "kek", "--socket", "kms.sock",
            ])
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("wrapping at"), "{line}");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id().unwrap()
    }

    async fn stop(mut self) {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().await.unwrap().success());
    }
}

struct Scene {
    provider: Provider,
    installation: Installation,
    keys: KeyProcess,
    server: Served,
    world: World,
}

impl Scene {
    async fn new() -> Self {
        let provider = Provider::start().await;
        let installation = Installation::made(|directory| {
            let named = "api_key_secret = \"standin\"";
            let gateway = provider
                .configuration(directory)
                .replace(&format!("api_key = \"{PROVIDER_KEY}\""), named);
            assert!(gateway.contains(named));
            let socket = directory.join("kms.sock");
            format!("{gateway}[vault]\nsocket = {socket:?}\n")
        })
        .await;
        provider.look_into(installation.admin());
        let keys = KeyProcess::start(installation.directory()).await;
        let server = installation.serve().await;
        let world = World::new(&server, &MODELS).await;
        Self {
            provider,
            installation,
            keys,
            server,
            world,
        }
    }

    async fn store(&self, value: &str) -> Reply {
        let secret = json!({"name": "standin", "purpose": "provider_key", "value": value});
        self.server.post(PLATFORM, &secret).await
    }

    async fn rotate(&self, value: &str) -> Reply {
        let path = format!("{PLATFORM}/standin");
        let request = self.server.request(reqwest::Method::PUT, &path);
        Reply::of(request.json(&json!({ "value": value }))).await
    }

    async fn complete(&self) -> Reply {
        let body = json!({"model": MODELS[0], "messages": [{"role": "user", "content": "Hello"}]});
        let url = format!("{}/v1/chat/completions", self.server.url);
        let request = reqwest::Client::new()
            .post(url)
            .bearer_auth(&self.world.key)
            .json(&body);
        Reply::of(request).await
    }

    /// The key that the provider was last sent.
    fn sent(&self) -> String {
        let calls = self.provider.calls(MODELS[0]);
        let head = calls.last().unwrap().head.to_lowercase();
        let (_, after) = head.split_once("authorization: bearer ").unwrap();
        after.lines().next().unwrap().trim().to_owned()
    }

    /// Payloads of a type, in any log.
    async fn payloads(&self, event_type: &str) -> Vec<Value> {
        let mut admin = self.installation.admin().connect().await.unwrap();
        let query = "SELECT envelope FROM counterfoil.events WHERE type = $1 ORDER BY position";
        let envelopes: Vec<String> = sqlx::query_scalar(query)
            .bind(event_type)
            .fetch_all(&mut admin)
            .await
            .unwrap();
        admin.close().await.unwrap();
        let payload = |text: &String| serde_json::from_str::<Value>(text).unwrap()["payload"].clone();
        envelopes.iter().map(payload).collect()
    }
}

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
async fn with_the_key_process_away_known_keys_serve_on_and_a_new_process_is_refused() {
    let mut scene = Scene::new().await;
    scene.store(FIRST).await.good();
    scene.complete().await.good();
    scene.keys.0.kill().await.unwrap();
    scene.complete().await.good();
    scene.server.stop().await;

    scene.server = scene.installation.serve().await;
    let shut = scene.complete().await;
    assert_eq!(shut.status, 503, "{}", shut.text);
    assert_eq!(scene.rotate(SECOND).await.status, 503);
    let denied = scene.payloads("CompletionDenied").await;
    assert_eq!(denied.last().unwrap()["step"], "routing.vault_key");
    scene.keys = KeyProcess::start(scene.installation.directory()).await;
    scene.complete().await.good();
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
    let kek = std::fs::read_to_string(scene.installation.directory().join("kek/kek-1.key")).unwrap();
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
