//! Replay: states at any moment, old versions lifted, and postgres-es as the second reader that arrives at the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil::audit::{AsOf, AuditError, CrossCheck, Replay, ReplayScope, Replayed};
use counterfoil_events::ids::{Position, Sequence, TenantId};
use counterfoil_events::ledger::{AggregateAppend, NewEvent};
use serde_json::Value;
use serde_json::value::RawValue;

use super::support::tamper;
use crate::support::ledger::{TestLedger, request};

/// Every event of the catalogue's examples, one aggregate per kind, and an agent that an old build registered.
pub async fn ledger_with_every_event() -> TestLedger {
    let ledger = TestLedger::new().await;
    let fixture = |name: &str| {
        let path = format!("{}/fixtures/events/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    for line in fixture("examples.jsonl").lines() {
        append(&ledger, "one", &serde_json::from_str(line).unwrap()).await;
    }
    append(
        &ledger,
        "old",
        &serde_json::from_str(&fixture("agent-registered-0.9.json")).unwrap(),
    )
    .await;
    ledger
}

async fn append(ledger: &TestLedger, id: &str, example: &Value) {
    let text = |name: &str| example[name].as_str().unwrap().to_owned();
    let held = ledger
        .reader
        .aggregate(ledger.tenant, &text("aggregate"), id, Sequence::ZERO)
        .await
        .unwrap();
    let mut request = request(ledger.tenant, "thing", id, 0);
    request.parts = vec![AggregateAppend {
        aggregate: text("aggregate").into(),
        aggregate_id: id.to_owned(),
        expected: Sequence(held.len() as u64),
        events: vec![NewEvent {
            event_type: text("type").into(),
            version: text("version").into(),
            payload: RawValue::from_string(example["payload"].to_string()).unwrap(),
        }],
    }];
    ledger.sequencer.append(request).await.unwrap();
}

fn scope(ledger: &TestLedger, aggregate: Option<(&str, &str)>, as_of: AsOf) -> ReplayScope {
    ReplayScope {
        tenant: ledger.tenant,
        aggregate: aggregate.map(|(kind, id)| (kind.to_owned(), id.to_owned())),
        as_of,
        raw: false,
    }
}

async fn replay(ledger: &TestLedger, scope: ReplayScope) -> Result<Vec<Replayed>, AuditError> {
    let mut replay = Replay::begin(ledger.database.log().clone(), scope).await?;
    let mut all = Vec::new();
    while let Some(replayed) = replay.next().await? {
        all.push(replayed);
    }
    Ok(all)
}

fn cross_check(ledger: &TestLedger) -> CrossCheck {
    let reader = ledger
        .admin
        .clone()
        .username("counterfoil_reader")
        .password("only-for-tests");
    CrossCheck::new(reader, ledger.tenant)
}

#[tokio::test]
async fn every_kind_of_aggregate_is_replayed_and_postgres_es_arrives_at_the_same() {
    let ledger = ledger_with_every_event().await;
    let all = replay(&ledger, scope(&ledger, None, AsOf::Now)).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|replayed| replayed.aggregate.as_str()).collect();
    let expected = [
        "administration",
        "agent",
        "agent",
        "completion",
        "issuer",
        "keyring",
        "kri",
        "kri_run",
        "kri_source",
        "organisation",
        "origin",
        "policy",
        "secret",
        "subscriber",
        "tenant",
        "user",
        "vault_key",
    ];
    assert_eq!(kinds, expected);
    let events: usize = all.iter().map(|replayed| replayed.events.len()).sum();
    assert_eq!(events, ledger.events(ledger.tenant).await.len());
    let second = cross_check(&ledger);
    for replayed in &all {
        assert_eq!(second.check(replayed).await, None, "{}", replayed.aggregate);
    }
    second.close().await;
    ledger.verify().await;
}

#[tokio::test]
async fn the_second_reader_finds_a_state_or_a_count_that_is_not_the_same() {
    let ledger = ledger_with_every_event().await;
    let second = cross_check(&ledger);
    let agents = || scope(&ledger, Some(("agent", "one")), AsOf::Now);
    let mut ours = replay(&ledger, agents()).await.unwrap().remove(0);
    ours.state["suspended"] = true.into();
    let difference = second.check(&ours).await.unwrap();
    assert!(difference.detail.contains("arrives at"), "{}", difference.detail);
    let mut ours = replay(&ledger, agents()).await.unwrap().remove(0);
    ours.sequence = Sequence(ours.sequence.0 + 1);
    let difference = second.check(&ours).await.unwrap();
    assert!(difference.detail.contains("events"), "{}", difference.detail);
    // What came after ours is not compared.
    let ours = replay(&ledger, agents()).await.unwrap().remove(0);
    append(&ledger, "one", &serde_json::json!({
        "aggregate": "agent", "type": "AgentSuspended", "version": "1.0", "payload": {"reason": "incident"},
    })).await;
    assert_eq!(second.check(&ours).await, None);
    // Another tenant's rows are not there for it.
    let elsewhere = ledger
        .admin
        .clone()
        .username("counterfoil_reader")
        .password("only-for-tests");
    let elsewhere = CrossCheck::new(elsewhere, TenantId::generate());
    assert!(
        elsewhere
            .check(&ours)
            .await
            .unwrap()
            .detail
            .contains("reads 0 events")
    );
}

#[tokio::test]
async fn a_replay_as_of_a_position_or_a_time_stops_there() {
    let ledger = ledger_with_every_event().await;
    let events = ledger.events(ledger.tenant).await;
    let agent = events
        .iter()
        .find(|event| event.event_type == "AgentSuspended")
        .unwrap();
    let at = |as_of| scope(&ledger, Some(("agent", "one")), as_of);
    let suspended = replay(&ledger, at(AsOf::Position(agent.recorded.position)))
        .await
        .unwrap();
    assert_eq!(suspended[0].state["suspended"], true, "{}", suspended[0].state);
    let before = Position(agent.recorded.position.0 - 1);
    let before = replay(&ledger, at(AsOf::Position(before))).await.unwrap();
    assert_eq!(before[0].state["suspended"], false);
    let then = replay(&ledger, at(AsOf::Time(agent.recorded_at))).await.unwrap();
    assert!(then[0].position >= agent.recorded.position);
    let early = "2020-01-01T00:00:00Z".parse().unwrap();
    assert!(replay(&ledger, at(early)).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_old_version_is_lifted_unless_the_raw_payload_is_asked_for() {
    let ledger = ledger_with_every_event().await;
    let old = |raw| ReplayScope {
        raw,
        ..scope(&ledger, Some(("agent", "old")), AsOf::Now)
    };
    let lifted = replay(&ledger, old(false)).await.unwrap().remove(0);
    let raw = replay(&ledger, old(true)).await.unwrap().remove(0);
    assert_eq!(
        (lifted.events[0].version.as_str(), raw.events[0].version.as_str()),
        ("0.9", "0.9")
    );
    assert!(
        lifted.events[0]
            .payload
            .get()
            .contains("\"risk_tier\":\"limited\"")
    );
    assert!(raw.events[0].payload.get().contains("\"risk\":\"low\""));
    assert_eq!(lifted.state, raw.state);
}

#[tokio::test]
async fn what_is_damaged_or_unknown_leads_to_no_state() {
    let ledger = ledger_with_every_event().await;
    append(
        &ledger,
        "x",
        &serde_json::json!({
            "aggregate": "agent", "type": "AgentPromoted", "version": "1.0", "payload": {},
        }),
    )
    .await;
    let agent = |id: &'static str| scope(&ledger, Some(("agent", id)), AsOf::Now);
    let unknown = replay(&ledger, agent("x")).await.unwrap_err();
    assert!(
        matches!(unknown, AuditError::Unknown(_)) && unknown.to_string().contains("upgrade"),
        "{unknown}"
    );
    tamper(&ledger, "UPDATE counterfoil.events SET envelope = replace(envelope, 'Agent', 'Agend') WHERE tenant_id = $tenant AND type = 'AgentSuspended'").await;
    let damaged = replay(&ledger, agent("one")).await.unwrap_err();
    assert!(matches!(damaged, AuditError::Unreadable { .. }), "{damaged}");
    assert!(replay(&ledger, agent("nobody")).await.unwrap().is_empty());
    let nowhere = ReplayScope {
        tenant: TenantId::generate(),
        ..agent("one")
    };
    assert!(matches!(
        replay(&ledger, nowhere).await.unwrap_err(),
        AuditError::NoTenant(_)
    ));
}
