//! The relay publishes each event once, in order, with the ledger's exact bytes.

use std::time::Duration;

use counterfoil_events::backbone::RelayOptions;
use counterfoil_events::ids::TenantId;

use crate::support::backbone::{TestBackbone, append};
use crate::support::ledger::TestLedger;

const BOTH_LEAD: RelayOptions = RelayOptions {
    window: 64,
    page_events: 16,
    leader_hint: false,
    look_again: Duration::from_secs(30),
};

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_holds_the_bytes_of_the_ledger_with_hash_and_signature() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 300).await;
    backbone.until_equal(&ledger).await;

    let subject = format!("{}.events.0.{}.thing", backbone.backbone.prefix(), ledger.tenant);
    let stream = backbone.stream().await;
    let raw = stream
        .get_first_raw_message_by_subject(&subject, 1)
        .await
        .unwrap();
    let event = &ledger.events(ledger.tenant).await[0];
    let recorded = &event.recorded;
    assert_eq!(raw.payload, recorded.envelope.as_bytes());
    let header = |name: &str| raw.headers.get(name).unwrap().as_str().to_owned();
    let hash = recorded.hash.to_string();
    assert_eq!(
        header("Nats-Msg-Id"),
        format!("{}:1:{}", ledger.tenant, &hash[..16])
    );
    assert_eq!(header("Counterfoil-Position"), "1");
    assert_eq!(header("Counterfoil-Type"), event.event_type);
    assert_eq!(header("Counterfoil-Aggregate-Id"), event.aggregate_id);
    assert_eq!(header("Counterfoil-Hash"), hash);
    assert_eq!(header("Counterfoil-Key-Id"), recorded.key_id.to_string());
    assert_eq!(header("Counterfoil-Signature"), recorded.signature.to_string());
    relay.stop().await;
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_at_once_publish_each_event_once() {
    let ledger = TestLedger::new().await;
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    let backbone = TestBackbone::new(&ledger).await;
    let relays = [
        backbone.relay(&ledger, BOTH_LEAD),
        backbone.relay(&ledger, BOTH_LEAD),
    ];
    for _ in 0..10 {
        append(&ledger, ledger.tenant, 40).await;
        append(&ledger, other, 25).await;
    }
    backbone.until_equal(&ledger).await;
    for relay in relays {
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_refilled_exactly() {
    let ledger = TestLedger::new().await;
    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(&ledger, RelayOptions::default());
    append(&ledger, ledger.tenant, 500).await;
    backbone.until_equal(&ledger).await;

    let name = backbone.backbone.prefix().stream(0);
    backbone.backbone.context().delete_stream(name).await.unwrap();
    append(&ledger, ledger.tenant, 3).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;
}
