//! A stream that somebody purged is refilled whole, whenever the refill is interrupted and however old the events are;
//! what a stream was made to forget is not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use counterfoil_events::backbone::RelayOptions;
use counterfoil_events::backbone::reconcile::{RepairParts, examine, repair};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::keyring::TrustedKeys;
use counterfoil_events::signature::{KeyPair, Signer};
use counterfoil_events::timestamp::Timestamp;

use super::faults::SetClock;
use crate::support::backbone::{TestBackbone, append};
use crate::support::ledger::TestLedger;

/// A ledger whose clock stands so many days before now, and the clock.
async fn ledger_of(days_ago: i64) -> (TestLedger, Arc<SetClock>) {
    let long_ago = Utc::now() - chrono::Duration::days(days_ago);
    let clock = Arc::new(SetClock(Mutex::new(long_ago.into())));
    (TestLedger::with_clock(clock.clone()).await, clock)
}

fn set(clock: &SetClock, days_ago: i64) {
    *clock.0.lock().unwrap() = (Utc::now() - chrono::Duration::days(days_ago)).into();
}

/// Runs a relay until `tenant`'s log alone is in the stream: where an interruption after the first page leaves it.
/// Whoever is in quarantine is not published, and the interruption needs no luck.
async fn refill_only(ledger: &TestLedger, backbone: &TestBackbone, tenant: TenantId) {
    let others = || async {
        let heads = ledger.reader.heads().await.unwrap();
        heads
            .into_iter()
            .map(|head| head.tenant)
            .filter(move |other| *other != tenant)
    };
    for other in others().await {
        ledger
            .reader
            .set_quarantine(other, Some("interrupted"))
            .await
            .unwrap();
    }
    let end = ledger.reader.head(tenant).await.unwrap().unwrap().head.position;
    let relay = backbone.relay(ledger, RelayOptions::default());
    backbone
        .until("the first tenant is published", async || {
            let contents = backbone.contents().await;
            let last = contents.get(&tenant).and_then(|events| events.last());
            last.is_some_and(|event| event.position == end)
        })
        .await;
    relay.stop().await;
    assert_eq!(backbone.contents().await.len(), 1, "nothing else was published");
    for other in others().await {
        ledger.reader.set_quarantine(other, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refill_that_was_interrupted_after_its_first_page_loses_nobodys_log() {
    // Long before the refill, and yet within the stream's 30 days.
    let (ledger, clock) = ledger_of(20).await;
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    append(&ledger, other, 30).await;
    set(&clock, 10);
    append(&ledger, ledger.tenant, 30).await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    relay.stop().await;

    backbone.stream().await.purge().await.unwrap();
    // The tenant whose events are the younger ones: the other's are older than the stream's oldest message.
    refill_only(&ledger, &backbone, ledger.tenant).await;
    let found = examine(&backbone.backbone, &ledger.reader, 1, &|_| {})
        .await
        .unwrap();
    let missing = found.partitions[0]
        .tenants
        .iter()
        .find(|report| report.tenant == other);
    let missing = missing.unwrap();
    assert_eq!(missing.discarded_events, 0, "{missing:?}");
    assert_eq!(missing.missing_in_stream.len(), 1, "{missing:?}");

    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    let found = examine(&backbone.backbone, &ledger.reader, 1, &|_| {})
        .await
        .unwrap();
    assert!(found.is_clean(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refill_begins_with_the_oldest_event_so_that_older_than_the_streams_age_is_not_lost_either() {
    let (ledger, clock) = ledger_of(400).await;
    append(&ledger, ledger.tenant, 30).await;
    set(&clock, 100);
    for _ in 0..8 {
        let younger = TenantId::generate();
        ledger.create_tenant(younger).await;
        append(&ledger, younger, 5).await;
    }
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    relay.stop().await;

    backbone.stream().await.purge().await.unwrap();
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    let stream = backbone.stream().await;
    let first = stream.get_info().await.unwrap().state.first_sequence;
    let first = stream.get_raw_message(first).await.unwrap();
    let oldest = [TenantId::PLATFORM, ledger.tenant].map(|tenant| tenant.to_string());
    let begins = oldest.iter().any(|tenant| first.subject.contains(tenant));
    assert!(begins, "{} was recorded 300 days after the first", first.subject);

    // Interrupted once that was published: what is younger than it is not taken for discarded.
    stream.purge().await.unwrap();
    refill_only(&ledger, &backbone, TenantId::PLATFORM).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_does_not_wait_for_what_a_stream_has_discarded_for_its_age() {
    let (ledger, clock) = ledger_of(40).await;
    let busy = TenantId::generate();
    ledger.create_tenant(busy).await;
    append(&ledger, ledger.tenant, 10).await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    *clock.0.lock().unwrap() = Timestamp::now();
    append(&ledger, busy, 10).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    let stream = backbone.stream().await;
    let last = stream.get_info().await.unwrap().state.last_sequence;
    // What the age limit does, and a tail that was lost besides: there is something to fill.
    stream.purge().sequence(last - 9).await.unwrap();
    backbone.delete(busy, Position(10)).await;

    let found = examine(&backbone.backbone, &ledger.reader, 1, &|_| {})
        .await
        .unwrap();
    let quiet = found.partitions[0]
        .tenants
        .iter()
        .find(|report| report.tenant == ledger.tenant);
    assert_eq!(quiet.unwrap().discarded_events, 10, "{found:?}");
    let keys = ledger
        .reader
        .aggregate(TenantId::PLATFORM, "keyring", "keyring", Default::default());
    let keys: Vec<_> = keys
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.recorded)
        .collect();
    let first = KeyPair::from_seed(&[7; 32]).public_key();
    let (keys, _) = TrustedKeys::from_events(first.fingerprint(), &keys);
    let parts = RepairParts {
        backbone: backbone.backbone.clone(),
        database: ledger.database.clone(),
        keys: keys.into(),
        partitions: 1,
    };
    // It would wait for an hour otherwise.
    let done = tokio::time::timeout(Duration::from_secs(120), repair(parts, &found)).await;
    done.expect("it is filled").unwrap();
    let contents = backbone.contents().await;
    assert_eq!(contents.keys().collect::<Vec<_>>(), [&busy]);
    assert_eq!(contents[&busy].last().unwrap().position, Position(10));
}
