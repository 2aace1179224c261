//! A gateway behind a real server.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use counterfoil_events::actor::Actor;
use counterfoil_events::agent::RiskTier;
use counterfoil_events::agent::key::{IssuedKey, KeyPepper, PresentedKey};
use counterfoil_events::command::CommandContext;
use counterfoil_events::ids::*;
use counterfoil_events::policy::PolicyLayer;
use counterfoil_events::timestamp::SystemClock;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::memory::{MemoryDirectory, MemoryLog};
use crate::config::{GatewayConfig, LimitsConfig, PolicyConfig, RedisConfig};
use crate::gateway::catalogue::Catalogue;
use crate::gateway::directory::*;
use crate::gateway::handler::group;
use crate::gateway::pipeline::Context;
use crate::gateway::pipeline::context::Incoming;
use crate::gateway::{Gateway, Services};
use crate::http::route::State;
use crate::http::*;
use crate::limits::{KeptAnswers, Rate, RedisLink, RequestLimiter};
use crate::policy::{PolicyEngine, PolicySource};

/// Denies what speaks of payroll and tools that write; caps answers of the large model.
pub const POLICY: &str = r#"package counterfoil

import rego.v1

decision := {"allow": false, "reasons": ["export.payroll"]} if payroll

decision := {"allow": true, "obligations": {"max_tokens": 8}} if {
    not payroll
    input.request.model == "demo-large"
}

decision := {"allow": true} if {
    not payroll
    input.request.model != "demo-large"
}

payroll if contains(input.request.messages[_].content, "payroll")
"#;

/// A gateway behind a real server.
pub struct Bench {
    pub log: Arc<MemoryLog>,
    pub directory: Arc<MemoryDirectory>,
    pub key: String,
    pub tenant: TenantId,
    services: Arc<Services>,
    address: SocketAddr,
    pub lifecycle: Lifecycle,
    running: Option<JoinHandle<bool>>,
}

impl Bench {
    /// With the demo provider.
    pub async fn start() -> Self {
        Self::with(
            GatewayConfig {
                demo_provider: true,
                ..GatewayConfig::default()
            },
            600,
        )
        .await
    }

    /// With one upstream, whose model `up` is priced.
    pub async fn with_upstream(base_url: &str) -> Self {
        let text = format!(
            r#"
            [[upstreams]]
            name = "test"
            base_url = "{base_url}"
            retry_budget_ms = 2000
            [[models]]
            name = "up"
            upstream = "test"
            upstream_model = "real-up"
            max_output_tokens = 100
            [[models]]
            name = "unpriced"
            upstream = "test"
            "#
        );
        let config = figment::Figment::from(
            <figment::providers::Toml as figment::providers::Format>::string(&text),
        );
        let mut config: GatewayConfig = config.extract().unwrap();
        let prices = std::env::temp_dir().join(format!("counterfoil-prices-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&prices, PRICES).unwrap();
        config.prices_file = Some(prices.clone());
        let bench = Self::with(config, 600).await;
        std::fs::remove_file(prices).unwrap();
        bench
    }

    pub async fn with(config: GatewayConfig, burst: u32) -> Self {
        Self::deciding(config, burst, &PolicyConfig::default()).await
    }

    /// With a policy engine that is always busy.
    pub async fn without_room_for_decisions() -> Self {
        let config = GatewayConfig {
            demo_provider: true,
            ..GatewayConfig::default()
        };
        let policy = PolicyConfig {
            queue_max: 0,
            ..PolicyConfig::default()
        };
        Self::deciding(config, 600, &policy).await
    }

    async fn deciding(config: GatewayConfig, burst: u32, policy: &PolicyConfig) -> Self {
        let tenant = TenantId::generate();
        let (directory, key) = directory(tenant);
        let (directory, log) = (Arc::new(directory), Arc::new(MemoryLog::default()));
        let lifecycle = Lifecycle::new();
        let redis = Readiness::new().required("redis");
        let link = RedisLink::keep(&RedisConfig::default(), &lifecycle, redis).unwrap();
        let services = Arc::new(Services {
            directory: directory.clone(),
            policy: Arc::new(PolicyEngine::start(policy).unwrap()),
            log: log.clone(),
            catalogue: Catalogue::from_config(&config).unwrap(),
            limiter: Arc::new(RequestLimiter::new(link.clone(), 100)),
            rate: Rate::per_minute(60, burst),
            kept: Arc::new(KeptAnswers::new(link, &LimitsConfig::default())),
            clock: Arc::new(SystemClock),
        });
        let gateway = Gateway(services.clone());
        let table = RouteTable::build(vec![group(&State::new(gateway))]).unwrap();
        let authenticators = Authenticators::new().with(AgentKeys(directory.clone()));
        let long = Duration::from_secs(60);
        let intake = IntakeLimits {
            body_timeout: long,
            body_memory_bytes: 64 << 20,
        };
        let dispatcher = Dispatcher::new(table, authenticators, lifecycle.clone(), intake);
        let limits = ServerLimits {
            max_connections: 64,
            head_timeout: long,
            idle_timeout: long,
            stalled_timeout: long,
            drain_deadline: long,
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, limits, dispatcher, lifecycle.clone())
            .await
            .unwrap();
        let address = server.address();
        let running = Some(tokio::spawn(server.run()));
        Self {
            log,
            directory,
            key,
            tenant,
            services,
            address,
            lifecycle,
            running,
        }
    }

    /// A context as the handler makes it.
    pub fn context(&self) -> Context {
        let incoming = Incoming {
            key: PresentedKey::parse(&self.key).ok(),
            claimed_tenant: None,
            command: CommandContext {
                tenant: self.tenant,
                actor: Actor::system("test"),
                request_id: "r".into(),
                traceparent: None,
                causation: None,
                idempotency: None,
            },
            idempotency_key: None,
            body: bytes::Bytes::new(),
            stopping: self.lifecycle.hurrying().clone(),
        };
        Context::new(self.services.clone(), incoming)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request as an OpenAI client sends it.
    pub fn request(&self, body: &Value) -> reqwest::RequestBuilder {
        let client = reqwest::Client::new();
        client
            .post(self.url("/v1/chat/completions"))
            .bearer_auth(&self.key)
            .json(body)
    }

    /// The same with another key.
    pub async fn ask_as(&self, key: &str, body: &Value) -> Got {
        let request = reqwest::Client::new().post(self.url("/v1/chat/completions"));
        Got::read(request.bearer_auth(key).json(body)).await
    }

    /// The same with any text as a body.
    pub async fn send(&self, content_type: &str, body: &'static str) -> Got {
        let request = reqwest::Client::new().post(self.url("/v1/chat/completions"));
        Got::read(
            request
                .bearer_auth(&self.key)
                .header("content-type", content_type)
                .body(body),
        )
        .await
    }

    pub async fn ask(&self, body: &Value) -> Got {
        Got::read(self.request(body)).await
    }

    pub async fn get(&self, path: &str) -> Got {
        Got::read(reqwest::Client::new().get(self.url(path)).bearer_auth(&self.key)).await
    }

    /// Changes what the key stands for.
    pub fn change(&self, change: impl FnOnce(&mut AgentIdentity)) {
        change(self.directory.identity.lock().unwrap().as_mut().unwrap());
    }

    /// Lets the calls that are under way end.
    pub async fn drain(&mut self) {
        self.lifecycle.drain();
        if let Some(running) = self.running.take() {
            assert!(running.await.unwrap(), "a task did not end");
        }
    }
}

const PRICES: &str = r#"
[[price]]
id = "up-1"
provider = "test"
model = "real-up"
effective_from = "2020-01-01"
currency = "EUR"
input_micros_per_million = 1_000_000
output_micros_per_million = 10_000_000
"#;

/// Both layers' policies.
pub fn policies(organisation: &str, tenant: &str) -> Vec<ActivePolicy> {
    let active = |(layer, text): (PolicyLayer, &str)| {
        let source = PolicySource::new(layer, 3, text.to_owned());
        ActivePolicy {
            reference: source.policy(),
            source: Arc::new(source),
        }
    };
    [
        (PolicyLayer::Organisation, organisation),
        (PolicyLayer::Tenant, tenant),
    ]
    .map(active)
    .into()
}

fn directory(tenant: TenantId) -> (MemoryDirectory, String) {
    let pepper = KeyPepper::generate();
    let issued = IssuedKey::generate(&pepper);
    let models = ["demo-small", "demo-large", "up", "unpriced", "not-configured"];
    let identity = AgentIdentity {
        tenant,
        organisation: OrganisationId::generate(),
        agent: AgentId::generate(),
        key_id: issued.id,
        standing: Standing::default(),
        models: models.iter().map(|name| name.parse().unwrap()).collect(),
        tool_scopes: ["ledger:read".parse().unwrap()].into(),
        risk_tier: RiskTier::Limited,
        policies: policies(POLICY, POLICY),
    };
    let directory = MemoryDirectory {
        pepper,
        hash: issued.hash,
        identity: Mutex::new(Some(identity)),
        stale: AtomicBool::new(false),
    };
    (directory, issued.expose_text().to_owned())
}

/// An answer.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Got {
    pub async fn read(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}"))
            .to_str()
            .unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// `status type code`, all four keys made sure to be there.
    pub fn error(&self) -> String {
        let error = &self.json()["error"];
        let mut keys: Vec<&String> = error.as_object().expect(&self.text).keys().collect();
        keys.sort();
        assert_eq!(keys, ["code", "message", "param", "type"]);
        let text = |key: &str| error[key].as_str().unwrap_or("null").to_owned();
        format!("{} {} {}", self.status, text("type"), text("code"))
    }

    /// The data of each event of a stream.
    pub fn events(&self) -> Vec<&str> {
        let frames = self.text.split("\n\n").filter(|frame| !frame.is_empty());
        frames
            .map(|frame| frame.strip_prefix("data: ").expect(frame))
            .collect()
    }
}

/// A question to a model.
pub fn question(model: &str, content: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": content}]})
}

/// The same, streamed.
pub fn streamed(model: &str, content: &str) -> Value {
    let mut body = question(model, content);
    body["stream"] = json!(true);
    body
}
