//! The gateway's log when it is not known whether an event was taken.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use counterfoil::commands::Commands;
use counterfoil::gateway::log::{CompletionLog, LogError};
use counterfoil::gateway::recorder::Recorder;
use counterfoil_events::actor::Actor;
use counterfoil_events::command::CommandContext;
use counterfoil_events::completion::{Denial, Policies, Reasons, Verdicts};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::{AgentId, ApiKeyId, CompletionId, ContentDigest};
use counterfoil_events::ledger::{Database, Sequencer, SequencerOptions};
use counterfoil_events::signature::KeyPair;
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::SystemClock;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::support::ledger::TestLedger;

fn denial() -> Denial {
    Denial {
        agent: AgentId::generate(),
        key_id: ApiKeyId::generate(),
        model: None,
        step: Code::literal("policy.model_allow"),
        code: Code::literal("model_not_allowed"),
        reasons: Reasons::first_of([]),
        policies: Policies::first_of([]),
        policy_input_digest: None,
        request_digest: ContentDigest::of(b"{}"),
        request_bytes: 2,
        verdicts: Verdicts::first_of([]),
    }
}

fn recorder(ledger: &TestLedger) -> Recorder {
    // Nobody is kept waiting while an outcome is being found out.
    let options = SequencerOptions {
        unknown_timeout: Duration::ZERO,
        ..SequencerOptions::default()
    };
    let key = Arc::new(KeyPair::from_seed(&[7; 32]));
    let database = Database::new(&ledger.options);
    let sequencer = Sequencer::new(database, key, Arc::new(SystemClock), options);
    Recorder::new(Arc::new(Commands::new(sequencer, 1)))
}

async fn deny(ledger: &TestLedger, id: CompletionId) -> Result<Receipt, LogError> {
    let context = CommandContext {
        tenant: ledger.tenant,
        actor: Actor::system("test"),
        request_id: "r".to_owned(),
        traceparent: None,
        causation: None,
        idempotency: None,
    };
    recorder(ledger).deny(&context, id, denial()).await
}

/// The same while its tenant's head is locked, and the connection that waits for it is ended: what became of the
/// append nobody knows.
async fn deny_cut_off(ledger: &TestLedger, id: CompletionId) -> Result<Receipt, LogError> {
    let mut holder: PgConnection = ledger.admin.connect().await.unwrap();
    let mut killer = ledger.admin.connect().await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM counterfoil.chain_heads WHERE tenant_id = $1 FOR UPDATE")
        .bind(ledger.tenant.0)
        .execute(&mut *lock)
        .await
        .unwrap();
    let denying = deny(ledger, id);
    let cutting = async {
        loop {
            let waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                           AND usename = 'counterfoil_log' AND wait_event_type = 'Lock'";
            sqlx::query(waiting).execute(&mut killer).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let denied = tokio::select! {
        denied = denying => denied,
        () = cutting => unreachable!(),
    };
    lock.rollback().await.unwrap();
    denied
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_resolved_by_id_and_stays_unknown_where_the_log_has_nothing() {
    let ledger = TestLedger::new().await;
    let taken = CompletionId::generate();
    let receipt = deny(&ledger, taken).await.unwrap();
    // As if that had been the append whose answer was lost: it stands in the log, and is found there.
    assert_eq!(deny_cut_off(&ledger, taken).await, Ok(receipt));
    let unheard_of = deny_cut_off(&ledger, CompletionId::generate()).await;
    assert!(
        matches!(unheard_of, Err(LogError::OutcomeUnknown(_))),
        "{unheard_of:?}"
    );
}
