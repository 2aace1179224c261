//! The invariants of the log, checked after every test that wrote events.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::keyring::TrustedKeys;
use counterfoil_events::ledger::{LogReader, StoredEvent};
use counterfoil_events::signature::{KeyPair, Signer};
use counterfoil_events::verify::{
    Columns, Entry, LogVerifier, Options, Report, StoredEvent as Held, Unchecked,
};

/// I2 and I3 over every log: positions and sequences without gap, chain, signatures, columns. Panics on a finding.
pub async fn verify(reader: &LogReader) -> usize {
    let reports = reports(reader).await;
    for report in &reports {
        assert!(
            report.findings.is_empty(),
            "tenant {}: {:?}",
            report.tenant,
            report.findings
        );
    }
    reports.iter().map(|report| report.events as usize).sum()
}

/// What the verifier has to say of every log.
pub async fn reports(reader: &LogReader) -> Vec<Report> {
    let first = KeyPair::from_seed(&[7; 32]).public_key();
    let keyring = reader
        .aggregate(
            TenantId::PLATFORM,
            "keyring",
            "keyring",
            counterfoil_events::ids::Sequence::ZERO,
        )
        .await
        .unwrap();
    let recorded: Vec<_> = keyring.into_iter().map(|event| event.recorded).collect();
    let (keys, problems) = TrustedKeys::from_events(first.fingerprint(), &recorded);
    assert!(problems.is_empty(), "the keyring is sound: {problems:?}");
    let keys = Arc::new(keys);
    let mut reports = Vec::new();
    for head in reader.heads().await.unwrap() {
        let mut verifier = LogVerifier::new(head.tenant, keys.clone(), Options::default());
        let mut at = Position::ZERO;
        loop {
            let page = reader
                .page(head.tenant, at, Position(i64::MAX as u64), 1000)
                .await
                .unwrap();
            let Some(last) = page.last() else { break };
            at = last.recorded.position;
            let entries: Vec<Entry> = page.into_iter().map(entry).collect();
            verifier.verify_batch(&entries, &Unchecked);
        }
        let report = verifier.finish();
        assert_eq!(
            report.last, head.head.position,
            "the head of {} stands at its last event",
            head.tenant
        );
        reports.push(report);
    }
    reports
}

pub fn entry(event: StoredEvent) -> Entry {
    Entry::Event(Held {
        position: Some(event.recorded.position),
        envelope: event.recorded.envelope,
        hash: event.recorded.hash,
        key_id: event.recorded.key_id,
        signature: event.recorded.signature,
        columns: Some(Box::new(Columns {
            event_id: Some(event.event_id),
            aggregate: Some(event.aggregate),
            aggregate_id: Some(event.aggregate_id),
            sequence: Some(event.sequence),
            event_type: Some(event.event_type),
            version: Some(event.version),
            recorded_at: Some(event.recorded_at),
        })),
    })
}
