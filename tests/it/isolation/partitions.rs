//! What is kept beside the log is the tenant's alone too: streams, subjects, cached aggregates, Idempotency-Keys, kept
//! answers, counts.

use counterfoil_events::backbone::StreamScan;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::events::{Socket, Sse};
use crate::support::installation::Installation;
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

const MODELS: [&str; 1] = ["demo-small"];

/// One key may send three requests, and the next in an hour.
const LIMITS: &str =
    "[gateway]\ndemo_provider = true\n[limits]\nrequests_per_minute = 1\nburst_requests = 3\n";

struct Two {
    server: Served,
    a: World,
    b: World,
    installation: Installation,
}

impl Two {
    async fn new() -> Self {
        let installation = Installation::with(LIMITS).await;
        let server = installation.serve().await;
        let a = World::new(&server, &MODELS).await;
        let b = World::new(&server, &MODELS).await;
        Self {
            server,
            a,
            b,
            installation,
        }
    }

    async fn register(&self, world: &World, key: &str) -> Reply {
        let request = self.server.request(Method::POST, &world.path("/agents"));
        Reply::of(
            request
                .header("idempotency-key", key)
                .json(&agent_card("same", &MODELS)),
        )
        .await
    }

    async fn complete(&self, world: &World, key: Option<&str>) -> Reply {
        let body = json!({"model": "demo-small", "messages": [{"role": "user", "content": "Hello"}]});
        let url = format!("{}/v1/chat/completions", self.server.url);
        let request = reqwest::Client::new()
            .post(url)
            .bearer_auth(&world.key)
            .json(&body);
        Reply::of(match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
        .await
    }
}

fn tenant_of(event: &Value) -> String {
    let envelope: Value = serde_json::from_str(event["envelope"].as_str().unwrap()).unwrap();
    envelope["tenant"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_carry_their_tenants_events_and_no_others() {
    let two = Two::new().await;
    let (server, a) = (&two.server, two.a.tenant.to_string());
    let events = two.a.path("/events?after=0");
    let (mut sse, mut socket) = (
        Sse::open(server, &events).await,
        Socket::open(server, &events).await,
    );
    // Both logs grow while they are open, B's first.
    for n in 0..5 {
        two.register(&two.b, &format!("b{n}")).await.good();
        two.register(&two.a, &format!("a{n}")).await.good();
    }
    let listed = server.get(&two.a.path("/events?limit=500")).await.good();
    let count = listed["items"].as_array().unwrap().len();
    assert!(count > 10, "{listed}");
    for frame in sse.take(count).await {
        assert_eq!(tenant_of(&frame.data), a);
    }
    for _ in 0..count {
        assert_eq!(tenant_of(&socket.next().await.unwrap()), a);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_the_backbone_is_under_its_own_tenants_subject() {
    let two = Two::new().await;
    let backbone = two.installation.backbone().await;
    let stream = backbone.find_stream(0).await.unwrap().unwrap();
    for world in [&two.a, &two.b] {
        let head = two.server.get(&world.path("/events?limit=500")).await.good();
        let expected = head["items"].as_array().unwrap().len();
        let mut seen = 0;
        while seen < expected {
            seen = 0;
            let mut scan = StreamScan::open(&backbone, 0, Some(world.tenant)).await.unwrap();
            loop {
                let page = scan.next_page().await.unwrap();
                if page.is_empty() {
                    break;
                }
                for message in page {
                    assert_eq!(message.event.unwrap().tenant, world.tenant);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, expected, "nothing more than its log");
    }
    assert!(stream.cached_info().config.subjects.len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_is_another_one_in_each_tenant() {
    let two = Two::new().await;
    let (first, other) = (
        two.register(&two.a, "same").await,
        two.register(&two.b, "same").await,
    );
    assert_ne!(first.good()["id"], other.good()["id"]);
    let again = two.register(&two.a, "same").await;
    assert_eq!(
        again.good()["receipts"],
        first.good()["receipts"],
        "in one tenant it repeats"
    );
    // Kept answers of completions, which are found without the log.
    let (mine, theirs) = (
        two.complete(&two.a, Some("same")).await,
        two.complete(&two.b, Some("same")).await,
    );
    // The demo provider says the same to both; each is on its own tenant's log.
    for (reply, world) in [(&mine, &two.a), (&theirs, &two.b)] {
        reply.good();
        let position = reply.header("counterfoil-position");
        assert!(position.starts_with(&world.tenant.to_string()), "{position}");
    }
    assert_eq!(
        two.complete(&two.a, Some("same")).await.good()["id"],
        mine.good()["id"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_has_used_up_its_rate_leaves_another_its_own() {
    let two = Two::new().await;
    for n in 0..5 {
        let status = two.complete(&two.a, None).await.status;
        assert_eq!(status, if n < 3 { 200 } else { 429 }, "request {n}");
    }
    assert_eq!(two.complete(&two.b, None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_of_the_same_name_is_another_one_in_each_tenant() {
    let two = Two::new().await;
    let kri = |name: &str| {
        json!({"id": "same", "definition": {"name": name, "unit": "%", "schedule": {"frequency": "hourly"},
               "bands": {"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}}})
    };
    two.server.post(&two.a.path("/kris"), &kri("of A")).await.good();
    two.server.post(&two.b.path("/kris"), &kri("of B")).await.good();
    let retired = two
        .server
        .post(&two.a.path("/kris/same/retire"), &json!({"reason": "other"}))
        .await;
    let text = &retired.text;
    assert!((200..300).contains(&retired.status), "{text}");
    // From the cache that A's commands have filled, B's is still B's.
    let source =
        json!({"kri": "same", "config": {"kind": "ledger", "metric": "denied_share", "window_s": 3600}});
    let refused = two.server.post(&two.a.path("/kri-sources"), &source).await;
    assert!(
        (400..500).contains(&refused.status),
        "A's is retired: {}",
        refused.text
    );
    two.server.post(&two.b.path("/kri-sources"), &source).await.good();
}
