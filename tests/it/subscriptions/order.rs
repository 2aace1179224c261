//! Every position once, in order, from wherever one begins: while the log grows, after a break, from another process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use counterfoil_consumers::news::NewsSources;
use counterfoil_consumers::subscriptions::{
    Choice, Dropped, SubscriptionOptions, Subscriptions, WindowLimits, Wish, read,
};
use counterfoil_events::backbone::HeadWatch;
use counterfoil_events::ids::{Position, TenantId};

use crate::support::events::{Socket, Sse};
use crate::support::installation::Installation;
use crate::support::ledger::{TestLedger, request};
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

const MODELS: [&str; 1] = ["demo-small"];

/// Appends `count` events to the world's tenant, by several callers at once.
async fn register(server: &Served, world: &World, name: &str, count: usize) {
    let path = world.path("/agents");
    let calls = (0..count).map(|n| {
        let (path, card) = (path.clone(), agent_card(&format!("{name} {n}"), &MODELS));
        async move { server.post(&path, &card).await.good() }
    });
    use futures::StreamExt;
    let done: Vec<_> = futures::stream::iter(calls).buffer_unordered(8).collect().await;
    assert_eq!(done.len(), count);
}

async fn head(server: &Served, world: &World) -> u64 {
    let listed = server.get(&world.path("/events?limit=500")).await.good();
    assert_eq!(listed["next"], serde_json::Value::Null);
    listed["items"].as_array().unwrap().last().unwrap()["position"]
        .as_u64()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_begin_while_the_log_grows_miss_nothing_and_repeat_nothing() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &MODELS).await;
    register(&server, &world, "before", 60).await;

    let growing = register(&server, &world, "during", 200);
    let streams = async {
        let mut open = Vec::new();
        for after in [0, 3, 40, 60, 0, 64] {
            open.push((
                after,
                Sse::open(&server, &world.path(&format!("/events?after={after}"))).await,
            ));
        }
        open
    };
    let sockets = async {
        let mut open = Vec::new();
        for after in [0, 17, 63] {
            open.push((
                after,
                Socket::open(&server, &world.path(&format!("/events?after={after}"))).await,
            ));
        }
        open
    };
    let ((), streams, sockets) = tokio::join!(growing, streams, sockets);
    let head = head(&server, &world).await;
    for (after, mut stream) in streams {
        for position in after + 1..=head {
            let frame = stream.next().await.unwrap();
            assert_eq!((frame.id, &frame.data["position"]), (position, &position.into()));
            assert_eq!(frame.event, frame.data["type"].as_str().unwrap());
        }
    }
    for (after, mut socket) in sockets {
        for position in after + 1..=head {
            assert_eq!(socket.next().await.unwrap()["position"], position);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_from_the_last_event_seen_whatever_its_address_says() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &MODELS).await;
    let path = world.path("/events?after=1");
    let first = Sse::open(&server, &path).await.take(2).await;
    assert_eq!((first[0].id, first[1].id), (2, 3));
    let mut again = Sse::resume(&server, &path, Some(first[1].id)).await;
    assert_eq!(again.next().await.unwrap().id, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_selected_is_sent_and_what_comes_later_too() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &MODELS).await;
    let keys = world.path("/events?types=AgentKeyIssued,PolicyActivated");
    let mut stream = Sse::open(&server, &keys).await;
    let one = world.path(&format!("/events?aggregate=agent/{}", world.agent));
    let mut socket = Socket::open(&server, &one).await;
    let types: Vec<_> = stream
        .take(3)
        .await
        .into_iter()
        .map(|frame| frame.event)
        .collect();
    assert_eq!(types, ["AgentKeyIssued", "PolicyActivated", "PolicyActivated"]);
    for wanted in ["AgentRegistered", "AgentKeyIssued"] {
        assert_eq!(socket.next().await.unwrap()["type"], wanted);
    }
    // Others' events pass in between; live as in catching up, only those that were selected come.
    let other = world.register_agent(&server, "other", &MODELS).await;
    let post = |agent: &str| world.path(&format!("/agents/{agent}/keys"));
    server.post(&post(&other), &serde_json::json!({})).await.good();
    server
        .post(&post(&world.agent), &serde_json::json!({}))
        .await
        .good();
    let later = stream.take(2).await;
    assert_eq!(
        later.iter().map(|frame| &*frame.event).collect::<Vec<_>>(),
        ["AgentKeyIssued"; 2]
    );
    let issued = socket.next().await.unwrap();
    assert_eq!(
        (&issued["type"], &issued["position"]),
        (&"AgentKeyIssued".into(), &later[1].id.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_records_comes_through_this_one() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let other = installation.serve_with(&["--role", "api"]).await;
    let world = World::new(&server, &MODELS).await;
    let mut stream = Sse::open(&other, &world.path("/events?after=head")).await;
    let agent = world.register_agent(&server, "elsewhere", &MODELS).await;
    let frame = stream.next().await.unwrap();
    assert_eq!(frame.event, "AgentRegistered");
    let envelope: serde_json::Value = serde_json::from_str(frame.data["envelope"].as_str().unwrap()).unwrap();
    assert_eq!(envelope["aggregate_id"], agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_the_whole_log_once_with_and_without_a_selection() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &MODELS).await;
    for (selection, wanted) in [("", 6), ("&types=PolicyActivated", 2), ("&aggregate=agent", 2)] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = world.path(&format!("/events?limit=1{selection}{cursor}"));
            let page = server.get(&path).await.good();
            seen.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["position"].as_u64().unwrap()),
            );
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), wanted, "{selection}: {seen:?}");
        assert!(seen.is_sorted_by(|a, b| a < b), "{selection}: {seen:?}");
    }
}

/// A fan-out over a test's own log.
struct FanOut {
    subscriptions: Subscriptions,
    heads: HeadWatch,
}

impl FanOut {
    fn start(ledger: &TestLedger, events_max: usize) -> Self {
        let heads = HeadWatch::start(ledger.reader.clone(), std::time::Duration::from_millis(250));
        let sources = NewsSources {
            heads: heads.reader(),
            notices: ledger.sequencer.subscribe(),
            hints: None,
        };
        let options = SubscriptionOptions {
            window: WindowLimits {
                events_max,
                bytes_max: 1 << 20,
            },
            ..SubscriptionOptions::default()
        };
        Self {
            subscriptions: Subscriptions::start(ledger.database.clone(), sources, options),
            heads,
        }
    }

    async fn follow(
        &self,
        tenant: TenantId,
        after: u64,
    ) -> counterfoil_consumers::subscriptions::Subscription {
        let head = read::head(self.subscriptions.database(), tenant)
            .await
            .unwrap()
            .unwrap();
        let wish = Wish {
            tenant,
            principal: "test".to_owned(),
            after: Position(after),
            head,
            choice: Choice::default(),
        };
        self.subscriptions.subscribe(wish).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_follows_live_and_falls_out_of_the_window_is_dropped_and_can_go_on() {
    let ledger = TestLedger::new().await;
    let fan_out = FanOut::start(&ledger, 16);
    let mut slow = fan_out.follow(ledger.tenant, 0).await;
    let mut quick = fan_out.follow(ledger.tenant, 0).await;
    let mut seen = 0;
    for n in 0..100 {
        ledger
            .sequencer
            .append(request(ledger.tenant, "thing", "one", n))
            .await
            .unwrap();
        if n == 0 {
            seen = slow.next().await.unwrap().through.0;
        }
        while quick.cursor() < Position(n + 1) {
            quick.next().await.unwrap();
        }
    }
    assert_eq!(seen, 1);
    assert_eq!(slow.next().await.unwrap_err(), Dropped::Slow);
    drop(slow);
    let mut again = fan_out.follow(ledger.tenant, seen).await;
    while again.cursor() < Position(100) {
        for item in again.next().await.unwrap().items {
            seen += 1;
            assert_eq!(item.position(), Position(seen));
        }
    }
    assert_eq!(seen, 100);
    fan_out.subscriptions.stop().await;
    assert_eq!(again.next().await.unwrap_err(), Dropped::Stopped);
    fan_out.heads.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_that_come_and_go_while_a_narrow_window_moves_see_every_position_once() {
    let ledger = Arc::new(TestLedger::new().await);
    let fan_out = FanOut::start(&ledger, 16);
    const TOTAL: u64 = 600;
    let writers = async {
        let writer = |aggregate: u64| {
            let ledger = Arc::clone(&ledger);
            async move {
                for n in 0..TOTAL / 4 {
                    let request = request(ledger.tenant, "thing", &aggregate.to_string(), n);
                    ledger.sequencer.append(request).await.unwrap();
                }
            }
        };
        futures::future::join_all((0..4).map(writer)).await;
    };
    // Each leaves after some batches and comes back at its cursor, by way of Postgres or not, as it happens.
    let reader = |stay: u64| {
        let (fan_out, ledger) = (&fan_out, &ledger);
        async move {
            let mut seen = 0;
            while seen < TOTAL {
                let mut subscription = fan_out.follow(ledger.tenant, seen).await;
                for _ in 0..stay {
                    match subscription.next().await {
                        Ok(batch) => {
                            for item in batch.items {
                                seen += 1;
                                assert_eq!(item.position(), Position(seen));
                            }
                            assert_eq!(batch.through, Position(seen));
                        }
                        Err(Dropped::Slow) => break,
                        Err(other) => panic!("{other}"),
                    }
                    if seen == TOTAL {
                        break;
                    }
                }
            }
        }
    };
    let readers = futures::future::join_all([1, 2, 3, 7, 50, 1_000].map(reader));
    tokio::join!(writers, readers);
    fan_out.subscriptions.stop().await;
    fan_out.heads.stop().await;
    ledger.verify().await;
}
