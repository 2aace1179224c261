//! Copies that disagree: a database restored to an earlier moment, a stream that lost or gained messages, two
//! histories of one log. Nothing forks; what can be put back is, exactly; the rest is named.

use counterfoil_events::backbone::reconcile::{Gap, Reconciliation, Repair, RepairParts, examine, repair};
use counterfoil_events::backbone::{Finding, HeadState, RelayOptions};
use counterfoil_events::document::Document;
use counterfoil_events::envelope::{self, RecordedEvent};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::keyring::TrustedKeys;
use counterfoil_events::ledger::AppendError;
use counterfoil_events::signature::{KeyPair, Signer};
use counterfoil_events::verify::LossPart;
use sqlx::{ConnectOptions, Connection};

use crate::support::backbone::{TestBackbone, append, ledger_contents};
use crate::support::ledger::{TestLedger, event, request};
use crate::support::restored::copy_of;

/// Publishes everything, and stops.
async fn publish_all(ledger: &TestLedger, backbone: &TestBackbone) {
    let relay = backbone.relay(ledger, RelayOptions::default());
    backbone.until_equal(ledger).await;
    relay.stop().await;
}

/// A relay's look at streams that are another database's.
async fn look(ledger: &TestLedger, backbone: &TestBackbone) {
    let relay = backbone.relay(ledger, RelayOptions::default());
    backbone
        .until("the heads were compared", async || {
            let status = backbone.status.partitions();
            status
                .get(&0)
                .is_some_and(|status| status.head == HeadState::Verified)
        })
        .await;
    relay.stop().await;
}

async fn examined(ledger: &TestLedger, backbone: &TestBackbone) -> Reconciliation {
    examine(&backbone.backbone, &ledger.reader, 1, &|_| {})
        .await
        .unwrap()
}

async fn repaired(ledger: &TestLedger, backbone: &TestBackbone) -> Repair {
    let found = examined(ledger, backbone).await;
    let first = KeyPair::from_seed(&[7; 32]).public_key();
    let keyring = ledger
        .reader
        .aggregate(TenantId::PLATFORM, "keyring", "keyring", Default::default())
        .await
        .unwrap();
    let events: Vec<_> = keyring.into_iter().map(|event| event.recorded).collect();
    let (keys, problems) = TrustedKeys::from_events(first.fingerprint(), &events);
    assert!(problems.is_empty(), "{problems:?}");
    let parts = RepairParts {
        backbone: backbone.backbone.clone(),
        database: ledger.database.clone(),
        keys: keys.into(),
        partitions: 1,
    };
    repair(parts, &found).await.unwrap()
}

async fn append_one(ledger: &TestLedger, tenant: TenantId) -> Result<(), AppendError> {
    let id = uuid::Uuid::now_v7().to_string();
    let appended = ledger.sequencer.append(request(tenant, "thing", &id, 0)).await;
    appended.map(drop)
}

fn gap(part: LossPart, first: u64, last: u64) -> Gap {
    Gap {
        part,
        first: Position(first),
        last: Position(last),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_to_an_earlier_moment_is_quarantined_and_filled_up_from_the_stream() {
    let ledger = TestLedger::new().await;
    append(&ledger, ledger.tenant, 20).await;
    let (original, restored) = copy_of(ledger).await;
    let newer = TenantId::generate();
    append(&original, original.tenant, 300).await;
    original.create_tenant(newer).await;
    append(&original, newer, 10).await;
    let backbone = TestBackbone::new(&original).await;
    publish_all(&original, &backbone).await;

    let backbone = backbone.with(&restored).await;
    look(&restored, &backbone).await;
    let tenant = restored.tenant;
    let findings = &backbone.status.partitions()[&0].findings;
    let (stream, ledger_end) = (Position(320), Position(20));
    let ahead = Finding::Ahead {
        stream,
        ledger: ledger_end,
    };
    assert_eq!(findings[&tenant], ahead);
    assert_eq!(findings[&newer], Finding::UnknownTenant { stream: Position(10) });
    let refused = append_one(&restored, tenant).await;
    assert!(
        matches!(refused, Err(AppendError::Quarantined { .. })),
        "{refused:?}"
    );

    let report = examined(&restored, &backbone).await;
    let tenants = &report.partitions[0].tenants;
    let found = tenants.iter().find(|report| report.tenant == tenant).unwrap();
    assert_eq!(found.missing_in_ledger, [gap(LossPart::Tail, 21, 320)]);
    assert!(found.quarantine.is_some());

    let repair = repaired(&restored, &backbone).await;
    assert!(repair.left.is_empty() && repair.refilled.is_empty(), "{repair:?}");
    assert_eq!(ledger_contents(&restored).await, ledger_contents(&original).await);
    assert!(examined(&restored, &backbone).await.is_clean());
    append_one(&restored, tenant).await.unwrap();
    append_one(&restored, newer).await.unwrap();
    publish_all(&restored, &backbone).await;
    restored.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_gone_are_named_by_the_repair() {
    let ledger = TestLedger::new().await;
    let (original, restored) = copy_of(ledger).await;
    let document = Document::new("package a\n".to_owned()).unwrap();
    let reference = document.reference();
    let mut append = request(original.tenant, "thing", "with a document", 0);
    let payload = serde_json::json!({ "source": reference }).to_string();
    append.parts[0].events = vec![event(&payload)];
    append.documents = vec![document];
    original.sequencer.append(append).await.unwrap();
    let backbone = TestBackbone::new(&original).await;
    publish_all(&original, &backbone).await;

    let backbone = backbone.with(&restored).await;
    let repair = repaired(&restored, &backbone).await;
    assert_eq!(repair.restored[0].missing_documents, [reference.digest]);
    assert_eq!(repair.restored[0].head, Position(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_back_behind_a_hole_in_the_stream() {
    let ledger = TestLedger::new().await;
    append(&ledger, ledger.tenant, 5).await;
    let (original, restored) = copy_of(ledger).await;
    let backbone = TestBackbone::new(&original).await;
    publish_all(&original, &backbone).await;
    append(&original, original.tenant, 10).await;
    publish_all(&original, &backbone).await;
    // Position 9 of the tenant: the platform has two events, all published before.
    backbone.delete(original.tenant, Position(9)).await;

    let backbone = backbone.with(&restored).await;
    look(&restored, &backbone).await;
    let repair = repaired(&restored, &backbone).await;
    assert_eq!(
        (repair.restored[0].events, repair.restored[0].head),
        (3, Position(8))
    );
    let stopped = repair.restored[0].stopped.as_deref().unwrap();
    assert!(stopped.contains("lacks positions 9 to 9"), "{stopped}");
    assert!(
        repair.released.is_empty() && repair.refilled.is_empty(),
        "{repair:?}"
    );
    assert_eq!(repair.left.len(), 1);
    let refused = append_one(&restored, restored.tenant).await;
    assert!(
        matches!(refused, Err(AppendError::Quarantined { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_histories_of_one_log_are_left_to_people_and_neither_is_lost() {
    let ledger = TestLedger::new().await;
    append(&ledger, ledger.tenant, 5).await;
    let (original, restored) = copy_of(ledger).await;
    append(&original, original.tenant, 3).await;
    append(&restored, restored.tenant, 6).await;
    let backbone = TestBackbone::new(&original).await;
    publish_all(&original, &backbone).await;
    let (stream_before, ledger_before) = (backbone.contents().await, ledger_contents(&restored).await);

    let backbone = backbone.with(&restored).await;
    look(&restored, &backbone).await;
    let finding = backbone.status.partitions()[&0].findings[&restored.tenant];
    assert!(
        matches!(
            finding,
            Finding::Differs {
                position: Position(8),
                ..
            }
        ),
        "{finding:?}"
    );
    let repair = repaired(&restored, &backbone).await;
    assert!(repair.released.is_empty() && repair.refilled.is_empty() && repair.restored.is_empty());
    assert!(repair.left[0].1.contains("from position 6 on"), "{repair:?}");
    assert_eq!(backbone.contents().await, stream_before);
    assert_eq!(ledger_contents(&restored).await, ledger_before);
    let refused = append_one(&restored, restored.tenant).await;
    assert!(
        matches!(refused, Err(AppendError::Quarantined { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_bytes_in_the_ledger_are_a_difference_that_repair_leaves_to_people() {
    let ledger = TestLedger::new().await;
    append(&ledger, ledger.tenant, 5).await;
    let backbone = TestBackbone::new(&ledger).await;
    publish_all(&ledger, &backbone).await;
    // The column with the hash says what it always said.
    let altered =
        "UPDATE counterfoil.events SET envelope = replace(envelope, '\"sequence\":1', '\"sequence\":7')
                   WHERE tenant_id = $tenant AND position = 3";
    crate::audit::support::tamper(&ledger, altered).await;
    let before = ledger_contents(&ledger).await;

    let report = examined(&ledger, &backbone).await;
    let found = report.partitions[0]
        .tenants
        .iter()
        .find(|report| report.tenant == ledger.tenant)
        .unwrap();
    assert_eq!(
        (found.different_events, found.first_different),
        (1, Some(Position(3)))
    );
    let repair = repaired(&ledger, &backbone).await;
    // Whoever deleted the stream now would lose the one copy that is whole.
    let (of, why) = &repair.left[0];
    assert_eq!(*of, ledger.tenant);
    assert!(
        why.contains("altered") && why.contains("Keep the stream"),
        "{why}"
    );
    assert_eq!(ledger_contents(&ledger).await, before);
    assert!(!examined(&ledger, &backbone).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_in_the_stream_are_reported_by_part_and_count_and_filled_by_repair() {
    let ledger = TestLedger::new().await;
    let tenant = ledger.tenant;
    append(&ledger, tenant, 20).await;
    let backbone = TestBackbone::new(&ledger).await;
    publish_all(&ledger, &backbone).await;
    for position in [3, 4, 9, 20] {
        backbone.delete(tenant, Position(position)).await;
    }
    publish_foreign(&backbone, tenant).await;

    let report = examined(&ledger, &backbone).await;
    let partition = &report.partitions[0];
    let found = partition
        .tenants
        .iter()
        .find(|report| report.tenant == tenant)
        .unwrap();
    assert_eq!(
        found.missing_in_stream,
        [
            gap(LossPart::Middle, 3, 4),
            gap(LossPart::Middle, 9, 9),
            gap(LossPart::Tail, 20, 20)
        ]
    );
    assert_eq!(partition.strange_messages, 1);
    assert!(!report.is_clean());

    let repair = repaired(&ledger, &backbone).await;
    assert_eq!(repair.refilled, [0]);
    backbone.until_equal(&ledger).await;
    assert!(examined(&ledger, &backbone).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_ledger_lacks_stops_its_tenant_and_no_other() {
    let ledger = TestLedger::new().await;
    let (tenant, other) = (ledger.tenant, TenantId::generate());
    ledger.create_tenant(other).await;
    append(&ledger, tenant, 10).await;
    append(&ledger, other, 10).await;
    let mut admin = ledger.admin.connect().await.unwrap();
    sqlx::query("ALTER TABLE counterfoil.events DISABLE TRIGGER append_only")
        .execute(&mut admin)
        .await
        .unwrap();
    sqlx::query("DELETE FROM counterfoil.events WHERE tenant_id = $1 AND position = 6")
        .bind(tenant.0)
        .execute(&mut admin)
        .await
        .unwrap();
    admin.close().await.unwrap();

    let backbone = TestBackbone::new(&ledger).await;
    let relay = backbone.relay(
        &ledger,
        RelayOptions {
            page_events: 4,
            ..RelayOptions::default()
        },
    );
    backbone
        .until("the tenant is in quarantine", async || {
            let head = ledger.reader.head(tenant).await.unwrap().unwrap();
            head.quarantine_reason
                .is_some_and(|reason| reason.contains("lacks position 6"))
        })
        .await;
    backbone
        .until("the other is published", async || {
            backbone
                .contents()
                .await
                .get(&other)
                .is_some_and(|events| events.len() == 10)
        })
        .await;
    relay.stop().await;
    let refused = append_one(&ledger, tenant).await;
    assert!(
        matches!(refused, Err(AppendError::Quarantined { .. })),
        "{refused:?}"
    );
    append_one(&ledger, other).await.unwrap();
}

/// Publishes a message as the relay would publish the event, or as whoever may publish can forge it.
async fn publish(backbone: &TestBackbone, event: &RecordedEvent) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Counterfoil-Position", event.position.0.to_string());
    headers.insert("Counterfoil-Type", "ThingHappened");
    headers.insert("Counterfoil-Aggregate-Id", "forged");
    headers.insert("Counterfoil-Hash", event.hash.to_string());
    headers.insert("Counterfoil-Key-Id", event.key_id.to_string());
    headers.insert("Counterfoil-Signature", event.signature.to_string());
    let subject = format!("{}.events.0.{}.thing", backbone.backbone.prefix(), event.tenant);
    let body = event.envelope.clone().into_bytes();
    let context = backbone.backbone.context();
    let ack = context
        .publish_with_headers(subject, headers, body.into())
        .await
        .unwrap();
    ack.await.unwrap();
}

/// What follows `last`, if `signer` were to be believed.
fn event_after(last: &RecordedEvent, signer: &KeyPair) -> RecordedEvent {
    let (position, id) = (last.position.next(), last.parse().unwrap().event_id);
    let prev = last.parse().unwrap().prev;
    let envelope = last
        .envelope
        .replace(
            &format!("\"position\":{},", last.position),
            &format!("\"position\":{position},"),
        )
        .replace(&prev.to_string(), &last.hash.to_string())
        .replace(&id.to_string(), &uuid::Uuid::now_v7().to_string())
        .replace("\"sequence\":1,", "\"sequence\":2,");
    let hash = envelope::hash(envelope.as_bytes());
    RecordedEvent {
        tenant: last.tenant,
        position,
        hash,
        key_id: signer.public_key().id(),
        signature: signer.sign(&hash),
        envelope,
    }
}

/// Messages of every forged kind, each of a position that its tenant's log has not reached.
fn forgeries(last: &RecordedEvent) -> [RecordedEvent; 4] {
    let (ours, stranger) = (KeyPair::from_seed(&[7; 32]), KeyPair::from_seed(&[9; 32]));
    let by_a_stranger = event_after(last, &stranger);
    let unsigned = RecordedEvent {
        key_id: ours.public_key().id(),
        ..by_a_stranger.clone()
    };
    let elsewhere = RecordedEvent {
        position: Position(20),
        ..last.clone()
    };
    let other_body = RecordedEvent {
        envelope: "{}".to_owned(),
        position: Position(15),
        ..last.clone()
    };
    [by_a_stranger, unsigned, elsewhere, other_body]
}

/// Publishes under a tenant's subject what is no event at all.
async fn publish_foreign(backbone: &TestBackbone, tenant: TenantId) {
    let subject = format!("{}.events.0.{tenant}.thing", backbone.backbone.prefix());
    let context = backbone.backbone.context();
    let ack = context.publish(subject, "a stranger".into()).await.unwrap();
    ack.await.unwrap();
}

async fn until_nothing_is_strange(ledger: &TestLedger, backbone: &TestBackbone) {
    let is_clean = async || examined(ledger, backbone).await.partitions[0].strange_messages == 0;
    backbone.until("the forged messages are gone", is_clean).await;
}

async fn messages(backbone: &TestBackbone) -> u64 {
    backbone.stream().await.get_info().await.unwrap().state.messages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_deletes_forged_messages_by_itself_and_publishes_nothing_twice() {
    let ledger = TestLedger::new().await;
    let (tenant, other) = (ledger.tenant, TenantId::generate());
    ledger.create_tenant(other).await;
    append(&ledger, tenant, 10).await;
    append(&ledger, other, 10).await;
    let backbone = TestBackbone::new(&ledger).await;
    publish_all(&ledger, &backbone).await;
    let published = messages(&backbone).await;
    let last = ledger.events(tenant).await.pop().unwrap().recorded;
    let forged = forgeries(&last);
    for one in &forged {
        publish(&backbone, one).await;
    }
    publish_foreign(&backbone, other).await;
    let report = examined(&ledger, &backbone).await;
    assert_eq!(report.partitions[0].strange_messages, forged.len() as u64 + 1);

    let relay = backbone.relay(&ledger, RelayOptions::default());
    until_nothing_is_strange(&ledger, &backbone).await;
    backbone.until_equal(&ledger).await;
    assert_eq!(
        messages(&backbone).await,
        published,
        "what was forged is gone, what is true stands once"
    );
    append_one(&ledger, tenant).await.unwrap();
    append_one(&ledger, other).await.unwrap();
    backbone.until_equal(&ledger).await;
    // While it publishes, too: its next message is refused, and it looks again.
    for one in &forged {
        publish(&backbone, one).await;
        append_one(&ledger, tenant).await.unwrap();
    }
    until_nothing_is_strange(&ledger, &backbone).await;
    backbone.until_equal(&ledger).await;
    relay.stop().await;
    assert!(backbone.status.partitions()[&0].findings.is_empty());
    let head = ledger.reader.head(tenant).await.unwrap().unwrap();
    assert_eq!(head.quarantine_reason, None);
    assert!(examined(&ledger, &backbone).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_retired_key_signed_is_not_put_back() {
    let (ledger, directory) = (TestLedger::new().await, tempfile::tempdir().unwrap());
    append(&ledger, ledger.tenant, 3).await;
    let file = crate::support::kms::key_file(directory.path()).await;
    let rotated = crate::keys::process(&ledger, &file).await;
    crate::keys::rotate(&ledger, &rotated, &file).await;
    let last = request(ledger.tenant, "thing", "after the rotation", 0);
    rotated.append(last).await.unwrap();
    rotated.stop().await;
    let backbone = TestBackbone::new(&ledger).await;
    publish_all(&ledger, &backbone).await;
    let before = ledger_contents(&ledger).await;
    let last = ledger.events(ledger.tenant).await.pop().unwrap().recorded;
    publish(&backbone, &event_after(&last, &KeyPair::from_seed(&[7; 32]))).await;

    let repair = repaired(&ledger, &backbone).await;
    assert_eq!((repair.restored.len(), repair.restored[0].events), (1, 0));
    let stopped = repair.restored[0].stopped.as_deref().unwrap();
    assert!(
        stopped.contains("key_superseded") || stopped.contains("introduced at"),
        "{stopped}"
    );
    assert_eq!(ledger_contents(&ledger).await, before);
}
