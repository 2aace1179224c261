//! A user with a token, as tests let one act.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::reply::Reply;
use super::served::Served;

/// How long another process may take to follow the log, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user with one token.
pub struct Person {
    pub id: String,
    pub token: String,
    pub token_id: String,
}

impl Person {
    pub async fn enrolled(server: &Served) -> Self {
        let made = server.post("/v1/users", &json!({"kind": "person"})).await.good();
        let id = made["id"].as_str().unwrap().to_owned();
        let issued = server
            .post(&format!("/v1/users/{id}/tokens"), &Value::Null)
            .await
            .good();
        let text = |name: &str| issued[name].as_str().unwrap().to_owned();
        Self {
            id,
            token: text("token"),
            token_id: text("token_id"),
        }
    }

    /// With a role at a place such as `/v1/tenants/…`.
    pub async fn with(server: &Served, place: &str, role: &str) -> Self {
        let person = Self::enrolled(server).await;
        let path = format!("{place}/members/{}/roles/{role}", person.id);
        Reply::of(server.request(Method::PUT, &path)).await.good();
        person
    }

    pub fn request(&self, server: &Served, method: Method, path: &str) -> reqwest::RequestBuilder {
        let client = reqwest::Client::new();
        client
            .request(method, format!("{}{path}", server.url))
            .bearer_auth(&self.token)
    }

    pub async fn get(&self, server: &Served, path: &str) -> Reply {
        Reply::of(self.request(server, Method::GET, path)).await
    }

    pub async fn post(&self, server: &Served, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(server, Method::POST, path).json(body)).await
    }
}

/// Asks until the answer has this status.
pub async fn until(status: u16, what: &str, ask: impl AsyncFn() -> Reply) {
    let began = Instant::now();
    loop {
        let reply = ask().await;
        if reply.status == status {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: still {} {}",
            reply.status,
            reply.text
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
