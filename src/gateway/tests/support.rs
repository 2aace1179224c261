//! A gateway behind a real server, and what it stands on in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use counterfoil_events::actor::Actor;
use counterfoil_events::agent::RiskTier;
use counterfoil_events::agent::key::{IssuedKey, KeyPepper, PresentedKey};
use counterfoil_events::command::CommandContext;
use counterfoil_events::completion::{Authorization, Denial, Failure, Settlement};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::*;
use counterfoil_events::policy::PolicyLayer;
use counterfoil_events::signature::Signature;
use counterfoil_events::timestamp::SystemClock;
use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::config::{GatewayConfig, LimitsConfig, RedisConfig};
use crate::gateway::catalogue::Catalogue;
use crate::gateway::directory::*;
use crate::gateway::handler::group;
use crate::gateway::log::*;
use crate::gateway::pipeline::Context;
use crate::gateway::pipeline::context::Incoming;
use crate::gateway::{Gateway, Services};
use crate::http::route::State;
use crate::http::*;
use crate::limits::{KeptAnswers, Rate, RedisLink, RequestLimiter};
use crate::policy::{PolicyEngine, PolicyEngineConfig, PolicySource};

/// Denies what speaks of payroll and tools that write; caps answers of the large model.
const POLICY: &str = r#"package counterfoil

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

#[derive(Debug, Clone)]
pub enum Record {
    Authorized(Authorization),
    Denied(Denial),
    Settled(Settlement),
    Failed(Failure),
}

/// Fingerprint, completion and position of the first call under a key.
type Claimed = ([u8; 32], CompletionId, Position);

/// A log in memory that can be away.
#[derive(Default)]
pub struct MemoryLog {
    pub records: Mutex<Vec<(CompletionId, Record)>>,
    keys: Mutex<HashMap<[u8; 32], Claimed>>,
    pub authorising_fails: AtomicBool,
    pub ending_fails: AtomicBool,
}

impl MemoryLog {
    fn append(&self, context: &CommandContext, id: CompletionId, record: Record) -> Receipt {
        let mut records = self.records.lock().unwrap();
        records.push((id, record));
        Receipt {
            tenant: context.tenant,
            position: Position(records.len() as u64),
            event_id: EventId::generate(),
            hash: EventHash::ZERO,
            key_id: KeyId([0; 8]),
            signature: Signature([0; 64]),
        }
    }

    fn end(&self, context: &CommandContext, id: CompletionId, record: Record) -> Result<Receipt, LogError> {
        if self.ending_fails.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("switched off".into()));
        }
        Ok(self.append(context, id, record))
    }

    fn seen(&self, context: &CommandContext, id: CompletionId) -> Result<(), AuthoriseError> {
        let Some(claim) = context.idempotency else {
            return Ok(());
        };
        let mut keys = self.keys.lock().unwrap();
        let Some((fingerprint, first, position)) = keys.get(&claim.key_hash).copied() else {
            let position = Position(self.records.lock().unwrap().len() as u64 + 1);
            keys.insert(claim.key_hash, (claim.fingerprint, id, position));
            return Ok(());
        };
        if fingerprint != claim.fingerprint {
            return Err(AuthoriseError::KeyReused);
        }
        let records = self.records.lock().unwrap();
        let ended = records.iter().filter(|(id, _)| *id == first).count() > 1;
        Err(AuthoriseError::KeySeen { position, ended })
    }

    pub fn names(&self) -> Vec<&'static str> {
        let name = |record: &Record| match record {
            Record::Authorized(_) => "authorized",
            Record::Denied(_) => "denied",
            Record::Settled(_) => "settled",
            Record::Failed(_) => "failed",
        };
        self.records
            .lock()
            .unwrap()
            .iter()
            .map(|(_, record)| name(record))
            .collect()
    }

    pub fn last(&self) -> Record {
        self.records.lock().unwrap().last().expect("no record").1.clone()
    }
}

impl CompletionLog for MemoryLog {
    fn authorise<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Authorization,
    ) -> BoxFuture<'a, Result<Receipt, AuthoriseError>> {
        async move {
            if self.authorising_fails.load(Ordering::SeqCst) {
                return Err(LogError::Unavailable("switched off".into()).into());
            }
            self.seen(context, id)?;
            Ok(self.append(context, id, Record::Authorized(record)))
        }
        .boxed()
    }

    fn deny<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Denial,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        async move { self.end(context, id, Record::Denied(record)) }.boxed()
    }

    fn settle<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Settlement,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        async move { self.end(context, id, Record::Settled(record)) }.boxed()
    }

    fn fail<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Failure,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        async move { self.end(context, id, Record::Failed(record)) }.boxed()
    }
}

/// One key, whose standing can be changed.
pub struct MemoryDirectory {
    pepper: KeyPepper,
    hash: ApiKeyHash,
    pub identity: Mutex<Option<AgentIdentity>>,
    pub stale: AtomicBool,
}

impl KeyDirectory for MemoryDirectory {
    fn find(&self, key: &PresentedKey) -> Result<Option<Arc<AgentIdentity>>, DirectoryStale> {
        if self.stale.load(Ordering::SeqCst) {
            return Err(DirectoryStale { age_ms: 6_000 });
        }
        let known = key.hash(&self.pepper).matches(&self.hash);
        Ok(self
            .identity
            .lock()
            .unwrap()
            .clone()
            .filter(|_| known)
            .map(Arc::new))
    }
}

/// A gateway behind a real server.
pub struct Bench {
    pub log: Arc<MemoryLog>,
    pub directory: Arc<MemoryDirectory>,
    pub key: String,
    pub tenant: TenantId,
    services: Arc<Services>,
    address: SocketAddr,
    lifecycle: Lifecycle,
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
        let tenant = TenantId::generate();
        let (directory, key) = directory(tenant);
        let (directory, log) = (Arc::new(directory), Arc::new(MemoryLog::default()));
        let lifecycle = Lifecycle::new();
        let redis = Readiness::new().required("redis");
        let link = RedisLink::keep(&RedisConfig::default(), &lifecycle, redis).unwrap();
        let services = Arc::new(Services {
            directory: directory.clone(),
            policy: Arc::new(PolicyEngine::start(&PolicyEngineConfig::default()).unwrap()),
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

fn directory(tenant: TenantId) -> (MemoryDirectory, String) {
    let pepper = KeyPepper::generate();
    let issued = IssuedKey::generate(&pepper);
    let policy = |layer| {
        let source = PolicySource::new(layer, 3, POLICY.to_owned());
        ActivePolicy {
            reference: source.policy(),
            source: Arc::new(source),
        }
    };
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
        policies: vec![policy(PolicyLayer::Organisation), policy(PolicyLayer::Tenant)],
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
