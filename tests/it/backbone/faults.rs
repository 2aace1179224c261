//! What happens to the stream and to NATS does not happen to the log: appends go on, and the stream is as it should be
//! as soon as it can be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use counterfoil::stack::ServerKind;
use counterfoil_events::backbone::{HeadState, RelayOptions};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::timestamp::{Clock, Timestamp};
use nix::sys::signal::Signal;

use crate::support::backbone::{TestBackbone, append};
use crate::support::ledger::TestLedger;
use crate::support::stack::{copy_dir, private_stack};

#[tokio::test(flavor = "multi_thread")]
async fn events_cut_off_the_end_are_published_again_although_the_server_remembers_their_ids() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 40).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;

    // Within the duplicate window: published again under their ids, they would be answered as duplicates.
    let stream = backbone.stream().await;
    let last = stream.get_info().await.unwrap().state.last_sequence;
    for sequence in last - 4..=last {
        stream.delete_message(sequence).await.unwrap();
    }
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    append(&ledger, ledger.tenant, 5).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_cut_off_the_end_under_a_relay_at_rest_are_published_again() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let often = RelayOptions {
        look_again: Duration::from_millis(100),
        ..RelayOptions::default()
    };
    let relay = backbone.relay(&ledger, often);
    append(&ledger, ledger.tenant, 20).await;
    backbone.until_equal(&ledger).await;
    backbone.delete(ledger.tenant, Position(20)).await;
    backbone.delete(ledger.tenant, Position(19)).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_purged_between_two_relays_is_refilled() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 60).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    backbone.stream().await.purge().await.unwrap();
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone.until_equal(&ledger).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_rewound_to_an_older_copy_is_brought_up_to_date() {
    let (dir, stack) = private_stack().await;
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::on(stack.endpoints(), &ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 30).await;
    backbone.until_equal(&ledger).await;

    let (store, copy) = (stack.nats_store_dir().to_owned(), dir.path().join("copy"));
    stack.halt(ServerKind::Nats).await.unwrap();
    copy_dir(&store, &copy);
    stack.resume(ServerKind::Nats).await.unwrap();
    append(&ledger, ledger.tenant, 30).await;
    backbone.until_equal(&ledger).await;

    stack.halt(ServerKind::Nats).await.unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    copy_dir(&copy, &store);
    stack.resume(ServerKind::Nats).await.unwrap();
    append(&ledger, ledger.tenant, 3).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_go_on_while_nats_hangs_and_after_it_was_killed() {
    let (_dir, stack) = private_stack().await;
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::on(stack.endpoints(), &ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 20).await;
    backbone.until_equal(&ledger).await;

    stack.signal(ServerKind::Nats, Signal::SIGSTOP).await.unwrap();
    // Longer than it takes to notice, by pings and by answers that do not come.
    for _ in 0..16 {
        append(&ledger, ledger.tenant, 10).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stack.signal(ServerKind::Nats, Signal::SIGCONT).await.unwrap();
    backbone.until_equal(&ledger).await;

    for _ in 0..3 {
        stack.running(ServerKind::Nats).await.unwrap();
        stack.kill9(ServerKind::Nats).await.unwrap();
        append(&ledger, ledger.tenant, 50).await;
    }
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    ledger.verify().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_nats_is_unverified_until_nats_comes() {
    let (_dir, stack) = private_stack().await;
    stack.halt(ServerKind::Nats).await.unwrap();
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::on(stack.endpoints(), &ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 10).await;
    backbone
        .until("the relay has registered", async || {
            backbone.status.partitions().contains_key(&0)
        })
        .await;
    assert_eq!(backbone.status.partitions()[&0].head, HeadState::Unverified);

    stack.resume(ServerKind::Nats).await.unwrap();
    backbone.until_equal(&ledger).await;
    assert!(backbone.status.is_verified());

    // What a server holds that comes back is anybody's guess, until it has been looked at.
    stack.halt(ServerKind::Nats).await.unwrap();
    backbone
        .until("unverified again, and not leading", async || {
            let status = &backbone.status.partitions()[&0];
            status.head == HeadState::Unverified && !status.leading
        })
        .await;
    stack.resume(ServerKind::Nats).await.unwrap();
    backbone
        .until("verified again, and leading", async || {
            let status = &backbone.status.partitions()[&0];
            status.head == HeadState::Verified && status.leading
        })
        .await;
    relay.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_other_settings_is_refused_and_each_is_named() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let stream = backbone.backbone.ensure_stream(0).await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_age = Duration::from_secs(60);
    config.duplicate_window = Duration::from_secs(30);
    config.description = Some("anything else may differ".to_owned());
    backbone.backbone.context().update_stream(config).await.unwrap();
    let error = backbone.backbone.ensure_stream(0).await.unwrap_err().to_string();
    assert!(error.contains("max_age is 60s, not 2592000s"), "{error}");
    assert!(error.contains("duplicate_window is 30s, not 120s"), "{error}");
    assert!(!error.contains("storage"), "{error}");

    // The relay publishes nothing into it, and says why.
    let relay = backbone.relay(&ledger, RelayOptions::default());
    backbone
        .until("the relay says why", async || {
            let status = backbone.status.partitions();
            let problem = status.get(&0).and_then(|status| status.problem.clone());
            problem.is_some_and(|problem| problem.contains("max_age"))
        })
        .await;
    relay.stop().await;
}

/// A clock that stands still until it is set.
pub(super) struct SetClock(pub(super) Mutex<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_events_were_discarded_for_their_age_is_not_published_again() {
    let long_ago = Utc::now() - chrono::Duration::days(40);
    let clock = Arc::new(SetClock(Mutex::new(long_ago.into())));
    let ledger = TestLedger::with_clock(clock.clone()).await;
    let busy = TenantId::generate();
    ledger.create_tenant(busy).await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 30).await;
    append(&ledger, busy, 5).await;
    backbone.until_equal(&ledger).await;
    *clock.0.lock().unwrap() = Timestamp::now();
    append(&ledger, busy, 10).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;

    // What the age limit does: the oldest messages go, and with them all of the quiet tenant's.
    let stream = backbone.stream().await;
    let last = stream.get_info().await.unwrap().state.last_sequence;
    stream.purge().sequence(last - 9).await.unwrap();
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, busy, 1).await;
    backbone
        .until("the newest event is published", async || {
            let contents = backbone.contents().await;
            contents[&busy]
                .last()
                .is_some_and(|event| event.position == Position(16))
        })
        .await;
    let contents = backbone.contents().await;
    assert_eq!(contents.keys().collect::<Vec<_>>(), [&busy]);
    assert_eq!(contents[&busy].first().unwrap().position, Position(6));

    // A tenant that has been quiet since goes on where it was.
    append(&ledger, ledger.tenant, 1).await;
    backbone
        .until("the quiet tenant's next event is published", async || {
            backbone.contents().await.contains_key(&ledger.tenant)
        })
        .await;
    assert_eq!(
        backbone.contents().await[&ledger.tenant][0].position,
        Position(31)
    );
    relay.stop().await;
}
