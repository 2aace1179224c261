//! The KRI runner follows logs that Postgres really holds, also when one was set back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use counterfoil::commands::Commands;
use counterfoil_consumers::kri::{Failure, Measure, Measurement, RunnerOptions, run_when_due};
use counterfoil_events::actor::Actor;
use counterfoil_events::backbone::HeadWatch;
use counterfoil_events::command::{CommandContext, Extras, Target};
use counterfoil_events::ids::{KriRunId, KriSourceId, TenantId};
use counterfoil_events::kri::aggregates::run::KriRunCommand;
use counterfoil_events::kri::source::SourceConfig;
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;

use crate::audit::support::tamper;
use crate::support::ledger::TestLedger;

/// Longest that anything may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has nothing to read: the runs of this file name sources that do not exist, and it is the taking that counts.
struct Nothing;

impl Measure for Nothing {
    async fn measure(&self, _: TenantId, _: SourceConfig, _: Timestamp) -> Result<Measurement, Failure> {
        Err(Failure {
            code: Code::literal("nothing"),
            detail: String::new(),
        })
    }
}

/// Asks for a run as a process that starts now.
async fn ask(ledger: &TestLedger) -> String {
    let context = CommandContext {
        tenant: ledger.tenant,
        actor: Actor::system("test"),
        request_id: "r".to_owned(),
        traceparent: None,
        causation: None,
        idempotency: None,
    };
    let request = KriRunCommand::Request {
        kri: "denied-share".parse().unwrap(),
        source: KriSourceId::generate(),
        measured_at: None,
        now: ledger.reader.now().await.unwrap(),
    };
    let id = KriRunId::generate().to_string();
    let commands = Commands::new(ledger.another_sequencer(), 1);
    let target = Target::New(id.clone());
    let asked = commands
        .kri_runs
        .execute(&context, target, request, Extras::default());
    asked.await.unwrap();
    id
}

async fn until_taken(ledger: &TestLedger, run: &str) {
    let began = Instant::now();
    loop {
        let events = ledger
            .reader
            .aggregate(ledger.tenant, "kri_run", run, Default::default());
        let events = events.await.unwrap();
        if events.iter().any(|event| event.event_type == "KriRunStarted") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "nobody took the run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_a_log_that_was_set_back_is_taken_although_the_log_was_longer_before() {
    let ledger = TestLedger::new().await;
    let heads = HeadWatch::start(ledger.reader.clone(), Duration::from_millis(100));
    let options = RunnerOptions {
        name: Code::literal("runner-test"),
        concurrent_runs: 4,
        lease: Duration::from_secs(60),
    };
    let sequencer = ledger.another_sequencer();
    let runner = run_when_due(sequencer, heads.reader(), Arc::new(Nothing), options);
    for _ in 0..3 {
        let run = ask(&ledger).await;
        until_taken(&ledger, &run).await;
    }
    let set_back = "DELETE FROM counterfoil.events WHERE tenant_id = $tenant;
         UPDATE counterfoil.chain_heads SET position = 0, hash = decode(repeat('00', 32), 'hex')
         WHERE tenant_id = $tenant";
    tamper(&ledger, set_back).await;
    let run = ask(&ledger).await;
    until_taken(&ledger, &run).await;
    runner.stop().await;
    heads.stop().await;
}
