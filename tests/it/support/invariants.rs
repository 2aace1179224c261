//! The invariants, checked after every test that wrote events: I2 and I3 of a bare log by [`verify`], all of an
//! installation's by [`Checker`], by the same code that `audit verify`, `audit reconcile` and `projections diff` are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use counterfoil::audit::{JetStreamAudit, Keys, PostgresAudit, Reconcile, Scope, Summary};
use counterfoil_events::backbone::Backbone;
use counterfoil_events::envelope::{self, Receipt};
use counterfoil_events::ids::{Fingerprint, Position, TenantId};
use counterfoil_events::keyring::TrustedKeys;
use counterfoil_events::ledger::{Database, LogReader, StoredEvent};
use counterfoil_events::signature::{KeyPair, Signer};
use counterfoil_events::verify::{
    Columns, Entry, LogVerifier, Options, Report, StoredEvent as Held, Unchecked,
};
use counterfoil_projections::engine::list_parked;

use super::installation::Installation;
use super::projections::{no_difference, settled};

/// What an installation's invariants are checked through, and the head notes that it has ever released.
pub struct Checker {
    pub database: Database,
    backbone: Backbone,
    root: Fingerprint,
    partitions: u32,
    notes: Vec<String>,
}

impl Checker {
    pub async fn of(installation: &Installation) -> Self {
        Self {
            database: installation.database(),
            backbone: installation.backbone().await,
            root: installation.root,
            partitions: installation.config.nats.partitions,
            notes: Vec::new(),
        }
    }

    pub fn reader(&self) -> LogReader {
        LogReader::new(self.database.log().clone())
    }

    /// Everything: a process must be serving, and nobody writing. Each acknowledgement is held to the log.
    pub async fn everything(&self, acknowledged: &[Receipt]) {
        self.acknowledged_are_there(acknowledged).await;
        self.log_is_sound().await;
        self.copies_agree().await;
        self.projections_equal_rebuilds().await;
    }

    /// I1: every acknowledged event is there, once, byte for byte.
    pub async fn acknowledged_are_there(&self, acknowledged: &[Receipt]) {
        let tenants: BTreeSet<TenantId> = acknowledged.iter().map(|receipt| receipt.tenant).collect();
        let mut stored = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for tenant in tenants {
            for event in self.events(tenant).await {
                assert_eq!(
                    envelope::hash(event.recorded.envelope.as_bytes()),
                    event.recorded.hash
                );
                assert!(ids.insert(event.event_id), "{} is there twice", event.event_id);
                stored.insert((tenant, event.recorded.position), event.receipt());
            }
        }
        for receipt in acknowledged {
            let found = stored.get(&(receipt.tenant, receipt.position));
            assert_eq!(found, Some(receipt), "an acknowledged event");
        }
    }

    /// I2 to I4: positions, sequences, chain, signatures, columns, documents, every head note.
    pub async fn log_is_sound(&self) {
        let audit = PostgresAudit::new(self.database.log().clone(), self.keys().await, self.scope());
        nothing_found(&audit.run(&()).await.unwrap());
    }

    /// I5, once the relay has caught up.
    pub async fn copies_agree(&self) {
        nothing_found(&self.stream_audited().await);
        let reconcile = Reconcile {
            database: self.database.clone(),
            backbone: self.backbone.clone(),
            partitions: self.partitions,
            root: Some(self.root),
        };
        let compared = reconcile.run(false, &()).await.unwrap();
        assert!(compared.is_clean(), "{compared:?}");
    }

    /// An audit waits for the relay by itself, but not for a stream that is still to be made.
    async fn stream_audited(&self) -> Summary {
        let began = std::time::Instant::now();
        loop {
            let (pool, keys) = (self.database.log().clone(), self.keys().await);
            let audit = JetStreamAudit::new(pool, self.backbone.clone(), keys, self.scope());
            match audit.run(&()).await {
                Ok(summary) => return summary,
                Err(error) => assert!(began.elapsed().as_secs() < 60, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// I6, once the projector has caught up; and nothing is parked.
    pub async fn projections_equal_rebuilds(&self) {
        settled(&self.database).await;
        let parked = list_parked(self.database.projector(), None).await.unwrap();
        assert!(parked.is_empty(), "{parked:?}");
        no_difference(&self.database).await;
    }

    /// Every later check holds the log to this head note too.
    pub fn remember(&mut self, note: String) {
        self.notes.push(note);
    }

    pub async fn events(&self, tenant: TenantId) -> Vec<StoredEvent> {
        let (reader, end) = (self.reader(), Position(i64::MAX as u64));
        reader.page(tenant, Position::ZERO, end, 1_000_000).await.unwrap()
    }

    async fn keys(&self) -> Keys {
        Keys::from_postgres(self.database.log(), Some(self.root))
            .await
            .unwrap()
    }

    fn scope(&self) -> Scope {
        Scope {
            tenant: None,
            from: Position(1),
            options: Options::default(),
            head_notes: self.notes.clone(),
        }
    }
}

fn nothing_found(summary: &Summary) {
    let found = summary.findings.kept();
    assert!(found.is_empty(), "{}: {found:?}", summary.source);
}

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
