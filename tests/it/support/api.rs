//! HTTP as any client speaks it, and a small world made over it: one organisation, tenants that allow everything, an
//! agent with a key in each, and a KRI that measures the log.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;
use counterfoil_events::ids::TenantId;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::installation::TOKEN;

const ALLOW_ALL: &str =
    "package counterfoil\nimport rego.v1\ndecision := {\"allow\": true, \"reasons\": []}\n";

/// An answer, whatever it is.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answered {
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{} is no JSON: {text}", self.status))
    }

    /// The body of an answer that must be a success.
    pub fn good(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "{}: {text}", self.status);
        self.json()
    }

    /// `<tenant>:<position>` as the headers have it.
    pub fn position(&self) -> Option<u64> {
        let value = self.headers.get("counterfoil-position")?.to_str().ok()?;
        value.split_once(':')?.1.parse().ok()
    }

    /// The stable name of an error: a problem's type, or the code of OpenAI's shape.
    pub fn error(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let problem = body["type"].as_str().and_then(|name| name.rsplit('/').next());
        let name = problem.or_else(|| body["error"]["code"].as_str());
        name.unwrap_or_default().to_owned()
    }
}

/// A client with a credential.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    token: String,
}

impl Api {
    /// Of the administrator.
    pub fn new() -> Self {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            http,
            token: TOKEN.to_owned(),
        }
    }

    /// The same with an agent's key.
    pub fn as_agent(&self, key: &str) -> Self {
        Self {
            http: self.http.clone(),
            token: key.to_owned(),
        }
    }

    /// Sends a command with an Idempotency-Key, if one is given; an error when there is no whole answer.
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answered, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await?;
        Ok(Answered {
            status,
            headers,
            body,
        })
    }

    pub async fn post(&self, url: &str, body: Value) -> Value {
        self.send("POST", url, None, &body).await.unwrap().good()
    }
}

/// A tenant with what is needed to send it everything.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: TenantId,
    pub agent: String,
    pub key: String,
    pub source: String,
}

/// Makes `count` tenants of one organisation.
pub async fn make_world(api: &Api, url: &str, count: usize) -> Vec<Tenant> {
    let made = api
        .post(
            &format!("{url}/v1/organisations"),
            json!({"kind": "company", "name": "Tidewater"}),
        )
        .await;
    let (organisation, home) = (
        made["id"].as_str().unwrap(),
        made["home_tenant"].as_str().unwrap(),
    );
    activate(api, url, home, "organisation", ALLOW_ALL).await;
    let mut tenants = Vec::new();
    for index in 0..count {
        let body = json!({"organisation": organisation, "name": format!("tenant {index}")});
        let tenant = api.post(&format!("{url}/v1/tenants"), body).await;
        let id = tenant["id"].as_str().unwrap();
        activate(api, url, id, "tenant", ALLOW_ALL).await;
        tenants.push(furnish(api, url, id).await);
    }
    tenants
}

/// Publishes and activates a policy.
pub async fn activate(api: &Api, url: &str, tenant: &str, layer: &str, source: &str) {
    let path = format!("{url}/v1/tenants/{tenant}/policies/{layer}/versions");
    let published = api.post(&path, json!({"source": source})).await;
    let version = published["version"].as_u64().unwrap();
    api.post(&format!("{path}/{version}/activate"), Value::Null).await;
}

async fn furnish(api: &Api, url: &str, tenant: &str) -> Tenant {
    let base = format!("{url}/v1/tenants/{tenant}");
    let agent = api.post(&format!("{base}/agents"), card("Drafts replies")).await;
    let agent = agent["id"].as_str().unwrap().to_owned();
    let issued = api.post(&format!("{base}/agents/{agent}/keys"), json!({})).await;
    let definition = json!({"name": "Denied share", "unit": "%", "schedule": {"frequency": "hourly"},
        "bands": {"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}});
    api.post(
        &format!("{base}/kris"),
        json!({"id": "denied-share", "definition": definition}),
    )
    .await;
    let config = json!({"kind": "ledger", "metric": "denied_share", "window_s": 3600});
    let source = api
        .post(
            &format!("{base}/kri-sources"),
            json!({"kri": "denied-share", "config": config}),
        )
        .await;
    Tenant {
        id: tenant.parse().unwrap(),
        agent,
        key: issued["api_key"].as_str().unwrap().to_owned(),
        source: source["id"].as_str().unwrap().to_owned(),
    }
}

/// A spec card that differs from others by its purpose.
pub fn card(purpose: &str) -> Value {
    json!({"name": "helper", "owner": "Claims team", "purpose": purpose, "models": ["demo-small"],
           "tool_scopes": [], "risk_tier": "limited"})
}
