//! cqrs-es over our log: its framework commands through `TenantStore`, our handler and postgres-es read what it wrote,
//! and all arrive at one state. Long aggregates load from a snapshot and arrive at the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use counterfoil::audit::{AsOf, CrossCheck, Replay, ReplayScope};
use counterfoil_events::actor::Actor;
use counterfoil_events::command::{
    CommandContext, CommandError, CommandHandler, Extras, Target, TenantStore,
};
use counterfoil_events::ids::{Sequence, TenantId};
use counterfoil_events::kri::aggregates::indicator::{Kri, KriCommand, KriDefinition, KriError};
use counterfoil_events::ledger::Sequencer;
use cqrs_es::{AggregateError, CqrsFramework, EventEnvelope, Query};
use serde_json::json;

use crate::support::ledger::TestLedger;

const ID: &str = "denied-share";

fn context(tenant: TenantId) -> CommandContext {
    CommandContext {
        tenant,
        actor: Actor::system("test"),
        request_id: "r".into(),
        traceparent: None,
        causation: None,
        idempotency: None,
    }
}

fn definition(name: &str) -> KriDefinition {
    serde_json::from_value(json!({
        "name": name, "unit": "share", "schedule": {"frequency": "daily"},
        "bands": {"direction": "higher_is_worse", "upper": {"amber": "0.05", "red": "0.1"}},
    }))
    .unwrap()
}

/// What the framework hands to its queries.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<usize>>>);

#[async_trait]
impl Query<Kri> for Seen {
    async fn dispatch(&self, _id: &str, events: &[EventEnvelope<Kri>]) {
        self.0
            .lock()
            .unwrap()
            .extend(events.iter().map(|event| event.sequence));
    }
}

fn framework(sequencer: &Sequencer, tenant: TenantId, seen: &Seen) -> CqrsFramework<Kri, TenantStore> {
    let store = TenantStore::new(sequencer.clone(), context(tenant));
    CqrsFramework::new(store, vec![Box::new(seen.clone())], ())
}

async fn postgres_es_agrees(ledger: &TestLedger) {
    let scope = ReplayScope {
        tenant: ledger.tenant,
        aggregate: Some(("kri".to_owned(), ID.to_owned())),
        as_of: AsOf::Now,
        raw: false,
    };
    let mut replay = Replay::begin(ledger.database.log().clone(), scope).await.unwrap();
    let replayed = replay.next().await.unwrap().unwrap();
    let reader = ledger
        .admin
        .clone()
        .username("counterfoil_reader")
        .password("only-for-tests");
    let second = CrossCheck::new(reader, ledger.tenant);
    assert_eq!(second.check(&replayed).await, None);
    second.close().await;
}

#[tokio::test]
async fn a_refusal_is_not_decided_on_what_another_process_has_changed() {
    let ledger = TestLedger::new().await;
    let ours = CommandHandler::<Kri>::new(ledger.sequencer.clone());
    let theirs = CommandHandler::<Kri>::new(ledger.another_sequencer());
    let execute = async |handler: &CommandHandler<Kri>, command| {
        let (context, target) = (context(ledger.tenant), Target::Existing(ID.to_owned()));
        handler
            .execute(&context, target, command, Extras::default())
            .await
    };
    let refused = execute(&ours, KriCommand::Change(definition("First"))).await;
    assert!(
        matches!(refused, Err(CommandError::Rejected(KriError::NotFound))),
        "{refused:?}"
    );
    let define = KriCommand::Define(definition("First"));
    execute(&theirs, define).await.unwrap();
    let second = || KriCommand::Change(definition("Second"));
    execute(&ours, second()).await.unwrap();
    let third = KriCommand::Change(definition("Third"));
    execute(&theirs, third).await.unwrap();
    let back = execute(&ours, second()).await.unwrap();
    assert_eq!(
        back.receipts.len(),
        1,
        "it is no longer the second, as it was when this process last saw it"
    );
    let events = ledger.events(ledger.tenant).await;
    assert_eq!(events.len(), 4);
    ledger.verify().await;
}

#[tokio::test]
async fn the_framework_commands_through_our_store_and_all_readers_arrive_at_one_state() {
    let ledger = TestLedger::new().await;
    let seen = Seen::default();
    let framework = framework(&ledger.sequencer, ledger.tenant, &seen);
    framework
        .execute(ID, KriCommand::Define(definition("First")))
        .await
        .unwrap();
    framework
        .execute(ID, KriCommand::Change(definition("Second")))
        .await
        .unwrap();
    let refused = framework
        .execute(ID, KriCommand::Define(definition("Third")))
        .await;
    assert!(
        matches!(refused, Err(AggregateError::UserError(KriError::AlreadyExists))),
        "{refused:?}"
    );
    assert_eq!(*seen.0.lock().unwrap(), [1, 2]);

    let handler = CommandHandler::<Kri>::new(ledger.sequencer.clone());
    let loaded = handler.load(ledger.tenant, ID).await.unwrap();
    assert_eq!(loaded.sequence, Sequence(2));
    assert_eq!(loaded.state.in_use(), Some(&definition("Second")));
    postgres_es_agrees(&ledger).await;
    ledger.verify().await;
}

#[tokio::test]
async fn another_tenants_aggregate_of_the_same_name_is_another_aggregate() {
    let ledger = TestLedger::new().await;
    let other = TenantId::generate();
    ledger.create_tenant(other).await;
    let seen = Seen::default();
    for tenant in [ledger.tenant, other] {
        let framework = framework(&ledger.sequencer, tenant, &seen);
        framework
            .execute(ID, KriCommand::Define(definition("Ours")))
            .await
            .unwrap();
    }
    assert_eq!(*seen.0.lock().unwrap(), [1, 1]);
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_commands_that_race_through_the_framework_each_either_lands_whole_or_conflicts() {
    let ledger = TestLedger::new().await;
    let seen = Seen::default();
    framework(&ledger.sequencer, ledger.tenant, &seen)
        .execute(ID, KriCommand::Define(definition("Start")))
        .await
        .unwrap();
    let racers = (0..16).map(|n| {
        let framework = framework(&ledger.another_sequencer(), ledger.tenant, &seen);
        async move {
            framework
                .execute(ID, KriCommand::Change(definition(&format!("Name {n}"))))
                .await
        }
    });
    let results = futures::future::join_all(racers).await;
    let landed = results.iter().filter(|result| result.is_ok()).count();
    let conflicts = results
        .iter()
        .filter(|result| matches!(result, Err(AggregateError::AggregateConflict)))
        .count();
    assert_eq!(landed + conflicts, 16, "{results:?}");
    let handler = CommandHandler::<Kri>::new(ledger.sequencer.clone());
    let loaded = handler.load(ledger.tenant, ID).await.unwrap();
    assert_eq!(loaded.sequence, Sequence(1 + landed as u64));
    postgres_es_agrees(&ledger).await;
    ledger.verify().await;
}

/// A KRI renamed `times` times by our handler.
async fn renamed(ledger: &TestLedger, times: u64) {
    let handler = CommandHandler::<Kri>::new(ledger.sequencer.clone());
    let context = context(ledger.tenant);
    for n in 0..=times {
        let command = match n {
            0 => KriCommand::Define(definition("Name 0")),
            n => KriCommand::Change(definition(&format!("Name {n}"))),
        };
        let target = Target::Existing(ID.to_owned());
        handler
            .execute(&context, target, command, Extras::default())
            .await
            .unwrap();
    }
}

async fn snapshot(ledger: &TestLedger) -> Option<(i64, String)> {
    sqlx::query_as("SELECT sequence, state FROM counterfoil.snapshots WHERE aggregate_id = $1")
        .bind(ID)
        .fetch_optional(ledger.database.log())
        .await
        .unwrap()
}

async fn set_snapshot(ledger: &TestLedger, assignment: &'static str) {
    let statement = format!("UPDATE counterfoil.snapshots SET {assignment}");
    let changed = sqlx::query(&statement)
        .execute(ledger.database.log())
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 1);
}

/// As a process that has just started sees it.
async fn load_anew(ledger: &TestLedger) -> (Sequence, Option<KriDefinition>) {
    let handler = CommandHandler::<Kri>::new(ledger.another_sequencer());
    let loaded = handler.load(ledger.tenant, ID).await.unwrap();
    (loaded.sequence, loaded.state.in_use().cloned())
}

#[tokio::test]
async fn a_long_aggregate_leaves_a_snapshot_and_loads_from_it_to_the_same_state() {
    let ledger = TestLedger::new().await;
    renamed(&ledger, 250).await;
    let expected = (Sequence(251), Some(definition("Name 250")));
    assert_eq!(load_anew(&ledger).await, expected);
    let (sequence, _) = snapshot(&ledger).await.expect("no snapshot was kept");
    assert_eq!(sequence, 251);
    assert_eq!(load_anew(&ledger).await, expected);
    postgres_es_agrees(&ledger).await;
    ledger.verify().await;
}

#[tokio::test]
async fn a_snapshot_of_another_shape_or_that_does_not_read_is_none() {
    let ledger = TestLedger::new().await;
    renamed(&ledger, 250).await;
    let expected = load_anew(&ledger).await;
    set_snapshot(&ledger, "state = '{\"of\": \"another build\"}'").await;
    assert_eq!(load_anew(&ledger).await, expected);
    set_snapshot(
        &ledger,
        "state_schema = decode(repeat('ab', 32), 'hex'), sequence = 3",
    )
    .await;
    assert_eq!(load_anew(&ledger).await, expected);
    let (sequence, _) = snapshot(&ledger).await.unwrap();
    assert_eq!(sequence, 251, "this build's takes its place");
}
