//! What tests of the vault stand on: the real key process, the real server, a provider that sees what it is sent.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::binary::binary;
use crate::support::installation::Installation;
use crate::support::provider::{MODELS, PROVIDER_KEY, Provider};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::stack::TempDir;
use crate::support::world::World;

/// Where the platform's own secrets are.
pub const PLATFORM: &str = "/v1/tenants/00000000-0000-0000-0000-000000000000/secrets";

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

    /// Kills it at once.
    pub async fn kill(&mut self) {
        self.0.kill().await.unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.0.id().unwrap()
    }

    pub async fn stop(mut self) {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().await.unwrap().success());
    }
}

/// A platform whose provider's key is in the vault, under a key process of its own.
pub struct Scene {
    pub provider: Provider,
    /// The key process's.
    pub directory: TempDir,
    pub installation: Installation,
    pub keys: KeyProcess,
    pub server: Served,
    pub world: World,
}

impl Scene {
    pub async fn new() -> Self {
        let provider = Provider::start().await;
        let directory = TempDir::new();
        let keys = KeyProcess::start(directory.path()).await;
        let installation = Installation::made(|own| {
            let named = "api_key_secret = \"standin\"";
            let gateway = provider
                .configuration(own)
                .replace(&format!("api_key = \"{PROVIDER_KEY}\""), named);
            assert!(gateway.contains(named));
            let socket = directory.path().join("kms.sock");
            format!("{gateway}[vault]\nsocket = {socket:?}\n")
        })
        .await;
        provider.look_into(installation.admin());
        let server = installation.serve().await;
        let world = World::new(&server, &MODELS).await;
        Self {
            provider,
            directory,
            installation,
            keys,
            server,
            world,
        }
    }

    pub async fn store(&self, value: &str) -> Reply {
        let secret = json!({"name": "standin", "purpose": "provider_key", "value": value});
        self.server.post(PLATFORM, &secret).await
    }

    pub async fn rotate(&self, value: &str) -> Reply {
        let path = format!("{PLATFORM}/standin");
        let request = self.server.request(reqwest::Method::PUT, &path);
        Reply::of(request.json(&json!({ "value": value }))).await
    }

    pub async fn complete(&self) -> Reply {
        let body = json!({"model": MODELS[0], "messages": [{"role": "user", "content": "Hello"}]});
        let url = format!("{}/v1/chat/completions", self.server.url);
        let request = reqwest::Client::new()
            .post(url)
            .bearer_auth(&self.world.key)
            .json(&body);
        Reply::of(request).await
    }

    /// The key that the provider was last sent.
    pub fn sent(&self) -> String {
        let calls = self.provider.calls(MODELS[0]);
        let head = calls.last().unwrap().head.to_lowercase();
        let (_, after) = head.split_once("authorization: bearer ").unwrap();
        after.lines().next().unwrap().trim().to_owned()
    }

    /// Payloads of a type, in any log.
    pub async fn payloads(&self, event_type: &str) -> Vec<Value> {
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
