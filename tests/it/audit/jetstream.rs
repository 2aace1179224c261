//! The verifier over JetStream: the copy that the relay made, and what may be done to it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use counterfoil::audit::{JetStreamAudit, Keys};
use counterfoil_events::backbone::{Backbone, BackboneStatus, HeadWatch, RelayOptions, RelayParts, relay};
use counterfoil_events::background::Background;
use counterfoil_events::ids::TenantId;
use counterfoil_events::signature::{KeyPair, Signer};

use super::support::{found, ledger, root, scope, tamper};
use crate::support::ledger::TestLedger;
use crate::support::stack::shared_stack;

struct Stream {
    backbone: Backbone,
    heads: HeadWatch,
    relay: Option<Background>,
}

impl Stream {
    /// A relay that publishes `ledger` to a stream of its own.
    async fn of(ledger: &TestLedger) -> Self {
        let options = crate::support::backbone::options(shared_stack().endpoints());
        let backbone = Backbone::connect(options).await.unwrap();
        let heads = HeadWatch::start(ledger.reader.clone(), Duration::from_millis(50));
        let parts = RelayParts {
            backbone: backbone.clone(),
            database: ledger.database.clone(),
            heads: heads.reader(),
            notices: ledger.sequencer.subscribe(),
            status: BackboneStatus::default(),
        };
        let relay = Some(relay(0, parts, RelayOptions::default()));
        let began = Instant::now();
        // The relay makes it; an audit of a stream that is not there is an error.
        let name = backbone.prefix().stream(0);
        while backbone.context().get_stream(&name).await.is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the relay made no stream"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            backbone,
            heads,
            relay,
        }
    }

    async fn audit(&self, ledger: &TestLedger) -> Vec<(TenantId, u64, String)> {
        let keys = Keys::from_postgres(ledger.database.log(), Some(root()))
            .await
            .unwrap();
        let pool = ledger.database.log().clone();
        let audit = JetStreamAudit::new(pool, self.backbone.clone(), keys, scope(None));
        found(&audit.run(&()).await.unwrap())
    }

    /// No relay mends what is done from here on.
    async fn stop_relay(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.stop().await;
        }
    }

    async fn stream(&self) -> async_nats::jetstream::stream::Stream {
        let name = self.backbone.prefix().stream(0);
        self.backbone.context().get_stream(name).await.unwrap()
    }

    /// The stream sequence, subject, headers and body of a tenant's message.
    async fn message(&self, tenant: TenantId, position: u64) -> (u64, String, HeaderMap, Vec<u8>) {
        let stream = self.stream().await;
        let last = stream.get_info().await.unwrap().state.last_sequence;
        for sequence in 1..=last {
            let Ok(message) = stream.get_raw_message(sequence).await else {
                continue;
            };
            let is_it = message
                .headers
                .get("Counterfoil-Position")
                .is_some_and(|at| at.as_str() == position.to_string());
            if is_it && message.subject.contains(&tenant.to_string()) {
                return (
                    sequence,
                    message.subject.to_string(),
                    message.headers,
                    message.payload.to_vec(),
                );
            }
        }
        panic!("the stream holds no position {position} of {tenant}");
    }

    async fn publish(&self, subject: String, mut headers: HeaderMap, body: Vec<u8>) {
        let mut kept = HeaderMap::new();
        for (name, values) in headers
            .iter()
            .filter(|(name, _)| name.to_string().starts_with("Counterfoil"))
        {
            kept.insert(name.clone(), values[0].clone());
        }
        std::mem::swap(&mut headers, &mut kept);
        let ack = self
            .backbone
            .context()
            .publish_with_headers(subject, headers, body.into())
            .await;
        ack.unwrap().await.unwrap();
    }

    async fn end(mut self) {
        self.stop_relay().await;
        self.heads.stop().await;
        let name = self.backbone.prefix().stream(0);
        self.backbone.context().delete_stream(name).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_relay_published_is_the_log() {
    let ledger = ledger(12).await;
    let stream = Stream::of(&ledger).await;
    // The audit waits until the relay has caught up.
    assert_eq!(stream.audit(&ledger).await, []);
    stream.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_deleted_from_the_middle_and_the_end_are_missing() {
    let ledger = ledger(12).await;
    let mut stream = Stream::of(&ledger).await;
    assert_eq!(stream.audit(&ledger).await, []);
    stream.stop_relay().await;
    for position in [5, 12] {
        let (sequence, ..) = stream.message(ledger.tenant, position).await;
        stream.stream().await.delete_message(sequence).await.unwrap();
    }
    let expected = vec![
        (ledger.tenant, 5, "gap".to_owned()),
        (ledger.tenant, 12, "missing_tail".to_owned()),
    ];
    assert_eq!(stream.audit(&ledger).await, expected);
    stream.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_message_that_was_deleted_is_missing_and_not_taken_for_discarded() {
    let ledger = ledger(3).await;
    let mut stream = Stream::of(&ledger).await;
    assert_eq!(stream.audit(&ledger).await, []);
    stream.stop_relay().await;
    // The stream's very first: the relay publishes the logs in no particular order.
    let (sequence, ..) = stream.message(ledger.tenant, 1).await;
    let first = if sequence == 1 {
        ledger.tenant
    } else {
        TenantId::PLATFORM
    };
    stream.stream().await.delete_message(1).await.unwrap();
    assert_eq!(stream.audit(&ledger).await, [(first, 1, "gap".to_owned())]);
    stream.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_repeated_and_foreign_messages_are_found() {
    let ledger = ledger(4).await;
    let mut stream = Stream::of(&ledger).await;
    assert_eq!(stream.audit(&ledger).await, []);
    stream.stop_relay().await;
    let (_, subject, headers, body) = stream.message(ledger.tenant, 4).await;
    stream
        .publish(subject.clone(), headers.clone(), body.clone())
        .await;
    assert_eq!(
        stream.audit(&ledger).await,
        [(ledger.tenant, 4, "duplicate".to_owned())]
    );
    let forged = String::from_utf8(body)
        .unwrap()
        .replace("thing", "thinG")
        .into_bytes();
    stream.publish(subject.clone(), headers, forged).await;
    let found = stream.audit(&ledger).await;
    assert!(
        found.contains(&(ledger.tenant, 4, "hash_mismatch".to_owned())),
        "{found:?}"
    );
    let (_, _, headers, body) = stream.message(TenantId::PLATFORM, 2).await;
    stream.publish(subject, headers, body).await;
    let found = stream.audit(&ledger).await;
    assert!(
        found
            .iter()
            .any(|(tenant, _, kind)| *tenant == ledger.tenant && kind == "foreign_tenant"),
        "{found:?}"
    );
    stream.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_ahead_of_postgres_is_found_and_one_that_differs_too() {
    let ledger = ledger(12).await;
    let mut stream = Stream::of(&ledger).await;
    assert_eq!(stream.audit(&ledger).await, []);
    stream.stop_relay().await;
    // As if Postgres were restored from an earlier backup.
    tamper(
        &ledger,
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position > 9;
         UPDATE counterfoil.chain_heads h SET position = 9, hash = e.hash, recorded_at = e.recorded_at
         FROM counterfoil.events e WHERE h.tenant_id = $tenant AND e.tenant_id = $tenant AND e.position = 9",
    )
    .await;
    assert_eq!(
        stream.audit(&ledger).await,
        [(ledger.tenant, 10, "ahead".to_owned())]
    );
    // And went on without looking.
    let sequencer = ledger.another_sequencer();
    let mut request = crate::support::ledger::request(ledger.tenant, "thing", "another", 0);
    request.request_id = "another".to_owned();
    sequencer.append(request).await.unwrap();
    let found = stream.audit(&ledger).await;
    assert!(
        found.contains(&(ledger.tenant, 10, "differs".to_owned())),
        "{found:?}"
    );
    assert!(
        found.contains(&(ledger.tenant, 11, "ahead".to_owned())),
        "{found:?}"
    );
    stream.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_signed_with_another_key_and_one_whose_headers_were_edited_are_found() {
    let ledger = ledger(4).await;
    let mut stream = Stream::of(&ledger).await;
    assert_eq!(stream.audit(&ledger).await, []);
    stream.stop_relay().await;
    let (sequence, subject, headers, body) = stream.message(ledger.tenant, 4).await;
    stream.stream().await.delete_message(sequence).await.unwrap();
    let other = KeyPair::from_seed(&[9; 32]);
    let forged = other.sign(&counterfoil_events::envelope::hash(&body)).to_string();
    let changes = [
        ("Counterfoil-Signature", forged, "signature_invalid"),
        (
            "Counterfoil-Key-Id",
            other.public_key().id().to_string(),
            "unknown_key",
        ),
        (
            "Counterfoil-Type",
            "AgentRegistered".to_owned(),
            "columns_disagree",
        ),
        (
            "Counterfoil-Aggregate-Id",
            "another".to_owned(),
            "columns_disagree",
        ),
        ("Counterfoil-Position", "3".to_owned(), "columns_disagree"),
    ];
    for (header, value, kind) in changes {
        let mut headers = headers.clone();
        headers.insert(header, value);
        stream.publish(subject.clone(), headers, body.clone()).await;
        let found = stream.audit(&ledger).await;
        let expected =
            |(tenant, _, found): &(TenantId, u64, String)| *tenant == ledger.tenant && found == kind;
        assert!(found.iter().any(expected), "{header}: {found:?}");
        let last = stream
            .stream()
            .await
            .get_info()
            .await
            .unwrap()
            .state
            .last_sequence;
        stream.stream().await.delete_message(last).await.unwrap();
    }
    let elsewhere = subject.replace(".thing", ".agent");
    stream.publish(elsewhere, headers, body).await;
    let expected = (ledger.tenant, 4, "columns_disagree".to_owned());
    assert_eq!(
        stream.audit(&ledger).await,
        [expected],
        "under another aggregate's subject"
    );
    stream.end().await;
}
