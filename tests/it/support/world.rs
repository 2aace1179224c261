//! A small world made over HTTP, as a customer makes it: an organisation, its tenant, an agent with a key, and
//! policies in both layers that allow everything but one topic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_events::ids::TenantId;
use serde_json::{Value, json};

use super::served::Served;

const POLICY: &str = r#"package counterfoil
import rego.v1
decision := {"allow": count(why) == 0, "reasons": why}
why contains "topic.payroll" if { some m in input.request.messages; contains(lower(m.content), "payroll") }
"#;

/// Who is in it.
#[derive(Debug, Clone)]
pub struct World {
    pub tenant: TenantId,
    pub agent: String,
    pub key: String,
}

impl World {
    /// With an agent that may use `models`.
    pub async fn new(server: &Served, models: &[&str]) -> Self {
        let made = server
            .post(
                "/v1/organisations",
                &json!({"kind": "company", "name": "Example"}),
            )
            .await
            .good();
        let tenant: TenantId = made["home_tenant"].as_str().unwrap().parse().unwrap();
        let mut world = Self {
            tenant,
            agent: String::new(),
            key: String::new(),
        };
        world.agent = world.register_agent(server, "helper", models).await;
        world.key = world.issue_key(server).await;
        for layer in ["organisation", "tenant"] {
            let path = format!("/v1/tenants/{tenant}/policies/{layer}/versions");
            server.post(&path, &json!({"source": POLICY})).await.good();
            let activate = format!("{path}/1/activate");
            server.post(&activate, &Value::Null).await.good();
        }
        world
    }

    pub async fn register_agent(&self, server: &Served, name: &str, models: &[&str]) -> String {
        let card = agent_card(name, models);
        let made = server.post(&self.path("/agents"), &card).await.good();
        made["id"].as_str().unwrap().to_owned()
    }

    /// A KRI that measures the log, and its source.
    pub async fn add_kri_source(&self, server: &Served) -> String {
        let definition = json!({"name": "Denied share", "unit": "%", "schedule": {"frequency": "hourly"},
            "bands": {"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}});
        let kri = json!({"id": "denied-share", "definition": definition});
        server.post(&self.path("/kris"), &kri).await.good();
        let config = json!({"kind": "ledger", "metric": "denied_share", "window_s": 3600});
        let source = json!({"kri": "denied-share", "config": config});
        let made = server.post(&self.path("/kri-sources"), &source).await.good();
        made["id"].as_str().unwrap().to_owned()
    }

    async fn issue_key(&self, server: &Served) -> String {
        let path = self.path(&format!("/agents/{}/keys", self.agent));
        let issued = server.post(&path, &json!({})).await.good();
        issued["api_key"].as_str().unwrap().to_owned()
    }

    /// A path below the tenant.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/tenants/{}{rest}", self.tenant)
    }
}

pub fn agent_card(name: &str, models: &[&str]) -> Value {
    json!({"name": name, "owner": "Claims team", "purpose": "Drafts replies", "models": models,
           "tool_scopes": ["weather", "find"], "risk_tier": "limited"})
}
