//! The backbone of a test: streams under a prefix of its own, with a scan of the heads and as many relays as it wants.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use counterfoil::stack::Endpoints;
use counterfoil_events::backbone::{
    Backbone, BackboneOptions, BackboneStatus, HeadWatch, RelayOptions, RelayParts, StreamPrefix, StreamScan,
    StreamSettings, relay,
};
use counterfoil_events::background::Background;
use counterfoil_events::envelope::RecordedEvent;
use counterfoil_events::ids::{Position, TenantId};

use super::ledger::{TestLedger, request, unique_name};
use super::stack::shared_stack;

/// How long anything may take to come true. Nothing here takes a second by itself; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct TestBackbone {
    pub backbone: Backbone,
    pub heads: HeadWatch,
    pub status: BackboneStatus,
}

impl TestBackbone {
    pub async fn new(ledger: &TestLedger) -> Self {
        Self::on(shared_stack().endpoints(), ledger).await
    }

    /// On the NATS of `endpoints`.
    pub async fn on(endpoints: &Endpoints, ledger: &TestLedger) -> Self {
        let backbone = Backbone::connect(options(endpoints)).await.unwrap();
        Self {
            backbone,
            heads: HeadWatch::start(ledger.reader.clone(), Duration::from_millis(100)),
            status: BackboneStatus::default(),
        }
    }

    /// The same streams seen from another database.
    pub async fn with(self, ledger: &TestLedger) -> Self {
        self.heads.stop().await;
        Self {
            backbone: self.backbone,
            heads: HeadWatch::start(ledger.reader.clone(), Duration::from_millis(100)),
            status: BackboneStatus::default(),
        }
    }

    /// Deletes a tenant's event from the stream.
    pub async fn delete(&self, tenant: TenantId, position: Position) {
        let mut scan = StreamScan::open(&self.backbone, 0, Some(tenant)).await.unwrap();
        loop {
            let page = scan.next_page().await.unwrap();
            assert!(!page.is_empty(), "{tenant} {position} is not in the stream");
            let at = |event: &RecordedEvent| event.position == position;
            if let Some(found) = page.iter().find(|message| message.event.as_ref().is_ok_and(at)) {
                self.stream().await.delete_message(found.sequence).await.unwrap();
                return;
            }
        }
    }

    /// A relay of partition 0.
    pub fn relay(&self, ledger: &TestLedger, options: RelayOptions) -> Background {
        let parts = RelayParts {
            backbone: self.backbone.clone(),
            database: ledger.database.clone(),
            heads: self.heads.reader(),
            notices: ledger.sequencer.subscribe(),
            status: self.status.clone(),
        };
        relay(0, parts, options)
    }

    pub async fn stream(&self) -> jetstream::stream::Stream {
        let name = self.backbone.prefix().stream(0);
        self.backbone.context().get_stream(name).await.unwrap()
    }

    /// What the stream holds, per tenant in its order.
    pub async fn contents(&self) -> BTreeMap<TenantId, Vec<RecordedEvent>> {
        let mut contents: BTreeMap<TenantId, Vec<RecordedEvent>> = BTreeMap::new();
        let Ok(mut scan) = StreamScan::open(&self.backbone, 0, None).await else {
            return contents;
        };
        loop {
            let page = scan.next_page().await.unwrap();
            if page.is_empty() {
                return contents;
            }
            for message in page {
                let event = message.event.unwrap();
                contents.entry(event.tenant).or_default().push(event);
            }
        }
    }

    /// Waits until the stream holds exactly what the ledger holds, each event once.
    pub async fn until_equal(&self, ledger: &TestLedger) {
        let began = Instant::now();
        loop {
            let ledger = ledger_contents(ledger).await;
            let stream = self.contents().await;
            if stream == ledger {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the stream holds {:?}, the ledger {:?}; {:?}",
                positions(&stream),
                positions(&ledger),
                self.status.partitions()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until `came_true` says so.
    #[allow(dead_code)]
    pub async fn until(&self, what: &str, mut came_true: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !came_true().await {
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: not so; {:?}",
                self.status.partitions()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn options(endpoints: &Endpoints) -> BackboneOptions {
    BackboneOptions {
        servers: vec![endpoints.nats_url.clone()],
        connect: endpoints.nats_options(),
        prefix: StreamPrefix::new(&unique_name()).unwrap(),
        // JetStream reserves it, and the tests' streams share one disk.
        settings: StreamSettings {
            max_bytes: 64 * 1024 * 1024,
            ..StreamSettings::default()
        },
    }
}

/// Appends `count` events to aggregates of their own, several at a time.
pub async fn append(ledger: &TestLedger, tenant: TenantId, count: usize) {
    let appends = (0..count).map(|_| {
        let id = uuid::Uuid::now_v7().to_string();
        ledger.sequencer.append(request(tenant, "thing", &id, 0))
    });
    for appended in futures::future::join_all(appends).await {
        appended.unwrap();
    }
}

pub async fn ledger_contents(ledger: &TestLedger) -> BTreeMap<TenantId, Vec<RecordedEvent>> {
    let mut contents = BTreeMap::new();
    for head in ledger.reader.heads().await.unwrap() {
        if head.head.position > Position::ZERO {
            let events = ledger.events(head.tenant).await;
            contents.insert(
                head.tenant,
                events.into_iter().map(|event| event.recorded).collect(),
            );
        }
    }
    contents
}

fn positions(contents: &BTreeMap<TenantId, Vec<RecordedEvent>>) -> BTreeMap<TenantId, String> {
    let summary = |events: &Vec<RecordedEvent>| {
        let ends = events.first().zip(events.last());
        ends.map_or_else(String::new, |(first, last)| {
            format!("{} events, {}..{}", events.len(), first.position, last.position)
        })
    };
    contents
        .iter()
        .map(|(tenant, events)| (*tenant, summary(events)))
        .collect()
}
