//! The sweeper: a completion that nobody ended is lost, once, at its upper bound; whoever ends it late corrects that.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use counterfoil_consumers::projector::ProjectorOptions;
use counterfoil_consumers::sweeper::{PATIENCE, Sweep};
use counterfoil_events::actor::Actor;
use counterfoil_events::command::{CommandContext, CommandHandler, Extras, Target};
use counterfoil_events::completion::{
    Completion, CompletionCommand, Failure, FailureCode, UpperBound, Usage, Verdicts,
};
use counterfoil_events::ids::TenantId;
use counterfoil_events::timestamp::{Clock, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::support::ledger::TestLedger;
use crate::support::projections::{
    Running, assert_no_difference, open_completion, settle, settled_completion,
};

/// What is recorded now was recorded an hour ago, by Postgres's clock.
struct AnHourAgo;

impl Clock for AnHourAgo {
    fn now(&self) -> Timestamp {
        Timestamp::now().checked_sub(Duration::from_secs(3600)).unwrap()
    }
}

const ABANDONED: Uuid = Uuid::from_u128(0xa1);
const ANSWERED: Uuid = Uuid::from_u128(0xa2);
const UNDER_WAY: Uuid = Uuid::from_u128(0xa3);

/// One that is long over, one that was answered, one that still has half an hour.
async fn three_completions() -> TestLedger {
    let ledger = TestLedger::with_clock(Arc::new(AnHourAgo)).await;
    open_completion(&ledger, ledger.tenant, ABANDONED, 60_000).await;
    settled_completion(&ledger, ledger.tenant, ANSWERED).await;
    open_completion(&ledger, ledger.tenant, UNDER_WAY, 90 * 60_000).await;
    ledger
}

async fn state(ledger: &TestLedger, id: Uuid) -> Completion {
    let completions = CommandHandler::<Completion>::new(ledger.sequencer.clone());
    completions
        .load(ledger.tenant, &id.to_string())
        .await
        .unwrap()
        .state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_that_nobody_ended_is_lost_at_its_upper_bound() {
    let ledger = three_completions().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    let sweep = Sweep::new(ledger.sequencer.clone(), &ledger.database);
    assert_eq!(sweep.look(PATIENCE).await.unwrap(), 1);
    let Completion::Lost(UpperBound { usage, cost }) = state(&ledger, ABANDONED).await else {
        panic!("{:?}", state(&ledger, ABANDONED).await)
    };
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, usage.estimated),
        (100, 50, true)
    );
    assert_eq!(cost.to_string(), "0.0015 EUR");
    assert_eq!(state(&ledger, ANSWERED).await, Completion::Settled);
    assert!(matches!(
        state(&ledger, UNDER_WAY).await,
        Completion::Authorized(_)
    ));
    settle(&ledger).await;
    assert_eq!(sweep.look(PATIENCE).await.unwrap(), 0, "once is enough");
    assert_no_difference(&ledger).await;
    running.stop().await;
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sweepers_one_declares_it_lost_and_a_lagging_read_model_does_no_harm() {
    let ledger = three_completions().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    // What the sweepers read stands still from here on.
    running.stop().await;
    let one = Sweep::new(ledger.sequencer.clone(), &ledger.database);
    let other = Sweep::new(ledger.another_sequencer(), &ledger.database);
    let (first, second) = tokio::join!(one.look(PATIENCE), other.look(PATIENCE));
    assert_eq!(first.unwrap() + second.unwrap(), 1);
    assert_eq!(one.look(PATIENCE).await.unwrap(), 0);
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ends_a_lost_completion_corrects_it() {
    let ledger = three_completions().await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    Sweep::new(ledger.sequencer.clone(), &ledger.database)
        .look(PATIENCE)
        .await
        .unwrap();
    let completions = CommandHandler::<Completion>::new(ledger.sequencer.clone());
    let target = Target::Existing(ABANDONED.to_string());
    let command = CompletionCommand::Fail(Box::new(late_failure()));
    let context = CommandContext {
        tenant: ledger.tenant,
        actor: Actor::system("test"),
        request_id: "r".into(),
        traceparent: None,
        causation: None,
        idempotency: None,
    };
    completions
        .execute(&context, target, command, Extras::default())
        .await
        .unwrap();
    assert_eq!(state(&ledger, ABANDONED).await, Completion::Corrected);
    settle(&ledger).await;
    assert_no_difference(&ledger).await;
    running.stop().await;
    ledger.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_takes_no_events_keeps_no_other_waiting() {
    let ledger = TestLedger::with_clock(Arc::new(AnHourAgo)).await;
    let stopped = TenantId::generate();
    ledger.create_tenant(stopped).await;
    // Older than the other's, and more than are read at once.
    for number in 0..230 {
        open_completion(&ledger, stopped, Uuid::from_u128(0xb000 + number), 60_000).await;
    }
    open_completion(&ledger, ledger.tenant, ABANDONED, 60_000).await;
    let running = Running::start(&ledger, ProjectorOptions::default());
    settle(&ledger).await;
    ledger
        .reader
        .set_quarantine(stopped, Some("a test"))
        .await
        .unwrap();
    let sweep = Sweep::new(ledger.sequencer.clone(), &ledger.database);
    assert_eq!(sweep.look(PATIENCE).await.unwrap(), 1);
    assert!(matches!(state(&ledger, ABANDONED).await, Completion::Lost(_)));

    ledger.reader.set_quarantine(stopped, None).await.unwrap();
    settle(&ledger).await;
    assert_eq!(
        sweep.look(PATIENCE).await.unwrap(),
        230,
        "in one look, page after page"
    );
    running.stop().await;
}

fn late_failure() -> Failure {
    Failure {
        code: FailureCode::ProviderTimeout,
        provider_status: None,
        usage: Usage {
            input_tokens: 100,
            output_tokens: 0,
            cached_tokens: 0,
            estimated: true,
        },
        cost: serde_json::from_value(json!({"micros": "1000", "currency": "EUR"})).unwrap(),
        response_bytes: 0,
        attempts: 1,
        provider_ms: 70_000,
        total_ms: 70_001,
        verdicts: Verdicts::default(),
    }
}
