//! A small world in the log for tests of read models: a carrier, two tenants that it carries, and something of
//! everything in each; and a projector over it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::projector::{Projector, ProjectorOptions, ProjectorParts};
use counterfoil_events::backbone::HeadWatch;
use counterfoil_events::ids::{Sequence, TenantId};
use counterfoil_events::ledger::{Database, LogReader, NewEvent};
use counterfoil_projections::engine::{Projection, cursors, diff, live_version};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ledger::{TestLedger, request};

pub const AGENT: Uuid = Uuid::from_u128(0xa1);
pub const CARRIER: Uuid = Uuid::from_u128(0xc1);

/// A projector with the scan of heads that it stands on.
pub struct Running {
    pub projector: Projector,
    heads: HeadWatch,
}

impl Running {
    pub fn start(ledger: &TestLedger, options: ProjectorOptions) -> Self {
        Self::of(ledger, counterfoil_projections::all(), options)
    }

    /// Of these read models.
    pub fn of(ledger: &TestLedger, projections: Vec<Arc<dyn Projection>>, options: ProjectorOptions) -> Self {
        let heads = HeadWatch::start(
            LogReader::new(ledger.database.log().clone()),
            Duration::from_millis(250),
        );
        let parts = ProjectorParts {
            database: ledger.database.clone(),
            heads: heads.reader(),
            notices: ledger.sequencer.subscribe(),
            hints: None,
        };
        let projector = Projector::start(projections, parts, options);
        Self { projector, heads }
    }

    pub async fn stop(self) {
        self.projector.stop().await;
        self.heads.stop().await;
    }
}

/// Waits until every live version stands at the heads.
pub async fn settle(ledger: &TestLedger) {
    settled(&ledger.database).await;
}

/// The same of any database.
pub async fn settled(database: &Database) {
    let all = async {
        for projection in counterfoil_projections::all() {
            while !stands_at_the_heads(database, &*projection).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("the projector reaches the heads");
}

async fn stands_at_the_heads(database: &Database, projection: &dyn Projection) -> bool {
    let pool = database.projector();
    let Ok(live) = live_version(pool, projection.name()).await else {
        return false;
    };
    let mut connection = pool.acquire().await.unwrap();
    let stands = cursors(&mut connection, projection.name(), live.version)
        .await
        .unwrap();
    let heads = LogReader::new(database.log().clone()).heads().await.unwrap();
    heads
        .iter()
        .all(|head| stands.get(&head.tenant).copied().unwrap_or_default() >= head.head.position)
}

/// Asserts that no projection differs from one folded anew.
pub async fn assert_no_difference(ledger: &TestLedger) {
    no_difference(&ledger.database).await;
}

/// The same of any database (I6).
pub async fn no_difference(database: &Database) {
    for projection in counterfoil_projections::all() {
        let found = diff(database.projector(), &*projection).await.unwrap();
        assert!(found.is_empty(), "{}: {found:?}", projection.name());
    }
}

/// Appends one event to an aggregate at `expected`.
pub async fn append(
    ledger: &TestLedger,
    tenant: TenantId,
    (aggregate, id): (&'static str, &str),
    expected: u64,
    event_type: &'static str,
    payload: Value,
) {
    let mut request = request(tenant, aggregate, id, expected);
    request.parts[0].expected = Sequence(expected);
    request.parts[0].events = vec![NewEvent {
        event_type: event_type.into(),
        version: "1.0".into(),
        payload: serde_json::value::RawValue::from_string(payload.to_string()).unwrap(),
    }];
    ledger.sequencer.append(request).await.unwrap();
}

pub fn agent_payload(name: &str) -> Value {
    json!({"name": name, "spec": {"digest": "11".repeat(32), "bytes": 10}, "models": ["demo-small"],
           "tool_scopes": ["crm.contacts:read"], "risk_tier": "high"})
}

pub async fn register_agent(ledger: &TestLedger, tenant: TenantId, agent: Uuid) {
    let agent = agent.to_string();
    append(
        ledger,
        tenant,
        ("agent", &agent),
        0,
        "AgentRegistered",
        agent_payload("Claims triage"),
    )
    .await;
}

/// A completion that nobody has ended.
pub async fn open_completion(ledger: &TestLedger, tenant: TenantId, id: Uuid, timeout_ms: u32) {
    let mut payload = authorized();
    payload["timeout_ms"] = timeout_ms.into();
    let id = id.to_string();
    append(
        ledger,
        tenant,
        ("completion", &id),
        0,
        "CompletionAuthorized",
        payload,
    )
    .await;
}

fn authorized() -> Value {
    json!({"agent": AGENT, "key_id": Uuid::from_u128(2), "model": "demo-small", "provider": "demo", "stream": false,
           "policies": [], "policy_input_digest": "22".repeat(32), "request_digest": "33".repeat(32),
           "request_bytes": 2, "input_tokens_bound": 100, "output_tokens_cap": 50,
           "max_cost": {"micros": "1500", "currency": "EUR"}, "price": {"id": "demo-small", "date": "2026-11-01"},
           "verdicts": [], "timeout_ms": 60000})
}

fn usage(input: u32, output: u32) -> Value {
    json!({"input_tokens": input, "output_tokens": output, "cached_tokens": 0, "estimated": false})
}

fn euros(micros: u32) -> Value {
    json!({"micros": micros.to_string(), "currency": "EUR"})
}

/// A completion that is answered.
pub async fn settled_completion(ledger: &TestLedger, tenant: TenantId, id: Uuid) {
    let id = id.to_string();
    append(
        ledger,
        tenant,
        ("completion", &id),
        0,
        "CompletionAuthorized",
        authorized(),
    )
    .await;
    let payload = json!({"usage": usage(10, 5), "cost": euros(70), "response_digest": "44".repeat(32),
        "response_bytes": 9, "finish_reason": "stop", "attempts": 1, "provider_ms": 3, "total_ms": 4, "verdicts": []});
    append(
        ledger,
        tenant,
        ("completion", &id),
        1,
        "CompletionSettled",
        payload,
    )
    .await;
}

async fn other_completions(ledger: &TestLedger, tenant: TenantId) {
    let denied = json!({"agent": AGENT, "key_id": Uuid::from_u128(2), "model": "demo-small", "step": "policy.authz",
        "code": "policy_denied", "reasons": ["no_pii"], "policies": [], "policy_input_digest": null,
        "request_digest": "33".repeat(32), "request_bytes": 2, "verdicts": []});
    let id = Uuid::from_u128(0xd2).to_string();
    append(ledger, tenant, ("completion", &id), 0, "CompletionDenied", denied).await;
    let id = Uuid::from_u128(0xd3).to_string();
    append(
        ledger,
        tenant,
        ("completion", &id),
        0,
        "CompletionAuthorized",
        authorized(),
    )
    .await;
    let lost = json!({"usage": usage(100, 50), "cost": euros(1500)});
    append(ledger, tenant, ("completion", &id), 1, "CompletionLost", lost).await;
    let corrected = json!({"failure": "provider_broke_off", "usage": usage(7, 1), "cost": euros(30),
        "response_digest": null, "response_bytes": 0, "finish_reason": null, "attempts": 1, "provider_ms": 3,
        "total_ms": 4, "verdicts": []});
    append(
        ledger,
        tenant,
        ("completion", &id),
        2,
        "CompletionCorrected",
        corrected,
    )
    .await;
}

async fn measured_kri(ledger: &TestLedger, tenant: TenantId, value: &str) {
    let bands = json!({"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}});
    let definition = json!({"name": "Denied share", "unit": "%", "bands": bands,
        "schedule": {"frequency": "hourly"}});
    append(
        ledger,
        tenant,
        ("kri", "denied-share"),
        0,
        "KriDefined",
        definition,
    )
    .await;
    let (source, run) = (Uuid::from_u128(9), Uuid::now_v7().to_string());
    let requested = json!({"kri": "denied-share", "source": source, "measured_at": null});
    append(ledger, tenant, ("kri_run", &run), 0, "KriRunRequested", requested).await;
    let started = json!({"runner": "r1", "attempt": 1, "lease_until": "2026-11-20T12:05:00.000000Z"});
    append(ledger, tenant, ("kri_run", &run), 1, "KriRunStarted", started).await;
    let completed = json!({"kri": "denied-share", "source": source, "attempt": 1, "value": value, "status": "green",
        "bands": bands, "measured_at": "2026-11-20T12:00:00.000000Z", "fresh_until": "2026-11-20T13:00:00.000000Z",
        "payload_digest": "55".repeat(32), "payload_bytes": 4, "positions": null});
    append(ledger, tenant, ("kri_run", &run), 2, "KriRunCompleted", completed).await;
}

/// The carrier with its home tenant, which is answered, carrying half of `tenants`' risk.
pub async fn carried(ledger: &TestLedger, tenants: &[TenantId]) -> TenantId {
    let (home, carrier) = (TenantId::generate(), CARRIER.to_string());
    ledger.create_tenant(home).await;
    let payload = json!({"kind": "carrier", "name": "Northsea Mutual", "home_tenant": home});
    let platform = TenantId::PLATFORM;
    append(
        ledger,
        platform,
        ("organisation", &carrier),
        0,
        "OrganisationCreated",
        payload,
    )
    .await;
    for tenant in tenants {
        let id = tenant.to_string();
        let made = json!({"organisation": Uuid::from_u128(1), "name": "Claims", "home": false});
        append(ledger, platform, ("tenant", &id), 1, "TenantCreated", made).await;
        let carried = json!({"carrier": CARRIER, "share": "0.5"});
        append(ledger, platform, ("tenant", &id), 2, "TenantCarried", carried).await;
        let exposure = json!({"amount": {"micros": "4000000", "currency": "EUR"}});
        append(ledger, platform, ("tenant", &id), 3, "ExposureSet", exposure).await;
    }
    home
}

/// Something of everything in a tenant.
pub async fn populate(ledger: &TestLedger, tenant: TenantId, value: &str) {
    register_agent(ledger, tenant, AGENT).await;
    let key = json!({"key_id": Uuid::from_u128(2), "hash": "66".repeat(32), "expires_at": null});
    append(
        ledger,
        tenant,
        ("agent", &AGENT.to_string()),
        1,
        "AgentKeyIssued",
        key,
    )
    .await;
    let published = json!({"version": 1, "source": {"digest": "77".repeat(32), "bytes": 3}, "tests": 4});
    append(
        ledger,
        tenant,
        ("policy", "tenant"),
        0,
        "PolicyPublished",
        published,
    )
    .await;
    append(
        ledger,
        tenant,
        ("policy", "tenant"),
        1,
        "PolicyActivated",
        json!({"version": 1}),
    )
    .await;
    settled_completion(ledger, tenant, Uuid::from_u128(0xd1)).await;
    other_completions(ledger, tenant).await;
    measured_kri(ledger, tenant, value).await;
}
