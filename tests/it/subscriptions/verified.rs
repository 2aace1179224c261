//! A subscriber trusts nobody: from the streams and the first key's fingerprint alone it verifies every event.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use counterfoil_events::envelope::Envelope;
use counterfoil_events::ids::TenantId;
use counterfoil_events::keyring::TrustedKeys;
use counterfoil_events::verify::{Entry, Finding, LogVerifier, Options, StoredEvent, Unchecked};
use serde_json::Value;

use crate::support::events::Sse;
use crate::support::installation::Installation;
use crate::support::world::World;

fn entry(document: &Value) -> Entry {
    let text = |name: &str| document[name].as_str().unwrap();
    let entry = StoredEvent {
        position: None,
        envelope: text("envelope").to_owned(),
        hash: text("hash").parse().unwrap(),
        key_id: text("key_id").parse().unwrap(),
        signature: text("signature").parse().unwrap(),
        columns: None,
    };
    let envelope = Envelope::parse(&entry.envelope).unwrap();
    assert_eq!(document["position"], envelope.position.0);
    assert_eq!(document["type"], envelope.event_type.as_ref());
    Entry::Event(entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_can_be_verified_from_what_was_streamed_and_a_changed_byte_shows() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let platform = format!(
        "/v1/tenants/{}/events?types=SigningKeyIntroduced",
        TenantId::PLATFORM
    );
    let key = Sse::open(&server, &platform).await.next().await.unwrap().data;
    let Entry::Event(stored) = entry(&key) else {
        unreachable!()
    };
    let recorded = counterfoil_events::envelope::RecordedEvent {
        tenant: TenantId::PLATFORM,
        position: counterfoil_events::ids::Position(1),
        envelope: stored.envelope,
        hash: stored.hash,
        key_id: stored.key_id,
        signature: stored.signature,
    };
    let root = installation.root;
    let (keys, problems) = TrustedKeys::from_events(root, &[recorded]);
    assert!(problems.is_empty(), "{problems:?}");

    let frames = Sse::open(&server, &world.path("/events")).await.take(6).await;
    let verified = |entries: &[Entry]| {
        let mut verifier = LogVerifier::new(world.tenant, Arc::new(keys.clone()), Options::default());
        verifier.verify_batch(entries, &Unchecked);
        verifier.finish()
    };
    let mut documents: Vec<Value> = frames.into_iter().map(|frame| frame.data).collect();
    let report = verified(&documents.iter().map(entry).collect::<Vec<_>>());
    assert_eq!(report.events, 6);
    // Documents are not streamed: whoever wants them checked takes an export.
    let about_documents = |finding: &Finding| format!("{:?}", finding.kind).contains("Document");
    let found = report.findings.kept();
    assert!(found.iter().all(about_documents), "{found:?}");

    let envelope = documents[2]["envelope"]
        .as_str()
        .unwrap()
        .replacen("\"v\":1", "\"v\":1 ", 1);
    documents[2]["envelope"] = envelope.into();
    let report = verified(&documents.iter().map(entry).collect::<Vec<_>>());
    let found = report.findings.kept();
    assert!(
        !found.iter().all(about_documents),
        "the changed byte shows: {found:?}"
    );
}
