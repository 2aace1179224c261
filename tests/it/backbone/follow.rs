//! A follower delivers every event once, in order, from wherever it begins and whatever is away.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use counterfoil::stack::ServerKind;
use counterfoil_events::backbone::{Follower, FollowerParts, RelayOptions};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::StoredEvent;

use crate::support::backbone::{TestBackbone, append, ledger_contents};
use crate::support::ledger::TestLedger;
use crate::support::stack::private_stack;

const PATIENCE: Duration = Duration::from_secs(60);

fn follower(ledger: &TestLedger, backbone: &TestBackbone, cursors: HashMap<TenantId, Position>) -> Follower {
    let parts = FollowerParts {
        backbone: backbone.backbone.clone(),
        log: ledger.reader.clone(),
        heads: backbone.heads.reader(),
    };
    Follower::new("test", 0, parts, cursors)
}

/// Follows until every log is delivered to its end; what was delivered, per tenant.
async fn follow_to_the_end(
    ledger: &TestLedger,
    follower: &mut Follower,
) -> BTreeMap<TenantId, Vec<StoredEvent>> {
    let mut delivered: BTreeMap<TenantId, Vec<StoredEvent>> = BTreeMap::new();
    let began = Instant::now();
    loop {
        let batch = follower.next_batch(7, Duration::from_millis(200)).await.unwrap();
        assert!(batch.len() <= 7);
        for event in batch {
            delivered.entry(event.recorded.tenant).or_default().push(event);
        }
        let at_the_end = ledger.reader.heads().await.unwrap().iter().all(|head| {
            follower.cursors().get(&head.tenant).copied().unwrap_or_default() == head.head.position
        });
        if at_the_end {
            return delivered;
        }
        assert!(began.elapsed() < PATIENCE, "cursors: {:?}", follower.cursors());
    }
}

/// Everything after `from`, each once, in order, with the ledger's bytes and columns.
async fn assert_delivered(
    ledger: &TestLedger,
    delivered: &BTreeMap<TenantId, Vec<StoredEvent>>,
    from: &HashMap<TenantId, Position>,
) {
    for (tenant, recorded) in ledger_contents(ledger).await {
        let after = from.get(&tenant).copied().unwrap_or_default();
        let expected: Vec<_> = recorded
            .into_iter()
            .filter(|event| event.position > after)
            .collect();
        let found = delivered.get(&tenant).map_or(&[][..], Vec::as_slice);
        let found_recorded: Vec<_> = found.iter().map(|event| event.recorded.clone()).collect();
        assert_eq!(found_recorded, expected);
        for (event, kept) in found
            .iter()
            .zip(ledger.events(tenant).await.iter().skip(after.0 as usize))
        {
            assert_eq!(event.event_id, kept.event_id);
            assert_eq!(event.sequence, kept.sequence);
            assert_eq!(
                (&event.event_type, &event.version),
                (&kept.event_type, &kept.version)
            );
            assert_eq!(event.recorded_at, kept.recorded_at);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_delivers_the_past_and_then_what_happens() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 50).await;
    let from = HashMap::from([(ledger.tenant, Position(20))]);
    let mut follower = follower(&ledger, &backbone, from.clone());
    let mut delivered = follow_to_the_end(&ledger, &mut follower).await;
    backbone
        .until("messages arrive", async || {
            follower.next_batch(7, Duration::from_millis(20)).await.unwrap();
            follower.is_live()
        })
        .await;

    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    append(&ledger, other, 30).await;
    append(&ledger, ledger.tenant, 30).await;
    for (tenant, events) in follow_to_the_end(&ledger, &mut follower).await {
        delivered.entry(tenant).or_default().extend(events);
    }
    assert_delivered(&ledger, &delivered, &from).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_lags_little_without_nats_and_misses_nothing_when_it_comes_back() {
    let (_dir, stack) = private_stack().await;
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::on(stack.endpoints(), &ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    let mut follower = follower(&ledger, &backbone, HashMap::new());
    append(&ledger, ledger.tenant, 20).await;
    let mut delivered = follow_to_the_end(&ledger, &mut follower).await;
    let mut extend = |more: BTreeMap<TenantId, Vec<StoredEvent>>| {
        for (tenant, events) in more {
            delivered.entry(tenant).or_default().extend(events);
        }
    };

    stack.halt(ServerKind::Nats).await.unwrap();
    append(&ledger, ledger.tenant, 20).await;
    extend(follow_to_the_end(&ledger, &mut follower).await);
    assert!(!follower.is_live());

    stack.resume(ServerKind::Nats).await.unwrap();
    append(&ledger, ledger.tenant, 20).await;
    extend(follow_to_the_end(&ledger, &mut follower).await);
    // The consumer lived in memory and is gone; it is made again.
    backbone.until_equal(&ledger).await;
    append(&ledger, ledger.tenant, 20).await;
    extend(follow_to_the_end(&ledger, &mut follower).await);
    assert_delivered(&ledger, &delivered, &HashMap::new()).await;
    relay.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_strangers_and_gaps_in_the_stream_do_not_show() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    let mut follower = follower(&ledger, &backbone, HashMap::new());
    append(&ledger, ledger.tenant, 10).await;
    let mut delivered = follow_to_the_end(&ledger, &mut follower).await;
    backbone.until_equal(&ledger).await;
    backbone
        .until("messages arrive", async || {
            follower.next_batch(7, Duration::from_millis(20)).await.unwrap();
            follower.is_live()
        })
        .await;
    relay.stop().await;

    // A copy of an event, and something that is none; then the next events never reach the stream.
    let subject = format!("{}.events.0.{}.thing", backbone.backbone.prefix(), ledger.tenant);
    let stream = backbone.stream().await;
    let copy = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    for (name, values) in copy
        .headers
        .iter()
        .filter(|(name, _)| !name.to_string().starts_with("Nats-"))
    {
        headers.insert(name.clone(), values[0].clone());
    }
    let context = backbone.backbone.context();
    for (headers, body) in [
        (headers, copy.payload.clone()),
        (Default::default(), "hello".into()),
    ] {
        let ack = context
            .publish_with_headers(subject.clone(), headers, body)
            .await
            .unwrap();
        ack.await.unwrap();
    }
    append(&ledger, ledger.tenant, 15).await;
    for (tenant, events) in follow_to_the_end(&ledger, &mut follower).await {
        delivered.entry(tenant).or_default().extend(events);
    }
    assert_delivered(&ledger, &delivered, &HashMap::new()).await;
}
