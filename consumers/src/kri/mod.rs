//! The KRI runner: carries out the runs that somebody requested.
//!
//! 1. *Watch*: read the log's KRI runs (`watch`), from the start of every log when the runner starts.
//! 2. *Claim* an open run by appending `KriRunStarted` at the expected sequence: of many runners one gets it in, and
//!    holds the run for a lease by Postgres's clock.
//! 3. *Measure* through [`Measure`]; the outside effect is a GET, at least once.
//! 4. *Record* `KriRunCompleted` or `KriRunFailed`: at most one, by the newest attempt.
//!
//! Runners need no coordination: a lost race is a refusal, a lost runner is a lease that ends.

mod run;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::backbone::HeadsReader;
use counterfoil_events::background::Background;
use counterfoil_events::ids::{PayloadDigest, TenantId};
use counterfoil_events::kri::aggregates::PositionVector;
use counterfoil_events::kri::source::SourceConfig;
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::ledger::{Committed, Sequencer};
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use run::Runner;
use watch::RunWatch;

/// How often the logs are looked at, besides the notices of commits made by this process.
const POLL: Duration = Duration::from_millis(250);
/// Most commits are no KRI runs: a busy log must not have the runner look after each of them.
const NOTICE_PAUSE: Duration = Duration::from_millis(25);

/// Fetches what a source says. Named here, implemented by the edge, which knows networks and their guard.
pub trait Measure: Send + Sync + 'static {
    /// Reads `source` for `tenant` as of `at`. A CSV document is already in it as text.
    fn measure(
        &self,
        tenant: TenantId,
        source: SourceConfig,
        at: Timestamp,
    ) -> impl Future<Output = Result<Measurement, Failure>> + Send;
}

/// What a source said.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// The value.
    pub value: KriValue,
    /// When the source says that it was observed.
    pub observed_at: Option<Timestamp>,
    /// Digest of the bytes that it was read from.
    pub payload_digest: PayloadDigest,
    /// How many bytes those were.
    pub payload_bytes: u32,
    /// How far which logs were read, where the platform measured itself.
    pub positions: Option<PositionVector>,
}

/// Why there is no value. The code goes into the log; `detail` to the operator only.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Stable.
    pub code: Code,
    /// For the operator's log.
    pub detail: String,
}

/// How the runner works.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Names this process in the log.
    pub name: Code,
    /// Runs at one time.
    pub concurrent_runs: usize,
    /// How long a run is held.
    pub lease: Duration,
}

/// Starts to run what is due. Stopped, it claims no more, gives what is under way a moment, and ends: what it leaves is
/// another's after the lease.
pub fn run_when_due<M: Measure>(
    sequencer: Sequencer,
    heads: HeadsReader,
    measure: Arc<M>,
    options: RunnerOptions,
) -> Background {
    Background::start_told("kri-runner", |heartbeat, stop| {
        let watch = RunWatch::new(sequencer.reader().clone(), heads, heartbeat);
        supervise(sequencer, watch, measure, options, stop)
    })
}

async fn supervise<M: Measure>(
    sequencer: Sequencer,
    mut watch: RunWatch,
    measure: Arc<M>,
    options: RunnerOptions,
    stop: CancellationToken,
) {
    let mut notices = sequencer.subscribe();
    let runner = Arc::new(Runner::new(sequencer, measure, options.clone()));
    let mut under_way = JoinSet::new();
    while let Some(advanced) = stop.run_until_cancelled(watch.advance()).await {
        if let Err(error) = advanced {
            tracing::warn!(%error, "the KRI runner cannot read the log; it tries again");
        }
        for open in watch.due(options.concurrent_runs.saturating_sub(under_way.len())) {
            let runner = Arc::clone(&runner);
            under_way.spawn(async move { runner.carry_out(open).await });
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = under_way.join_next() => watch.ended(ended.ok()),
            () = noticed(&mut notices) => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
    // A run that is dropped here is taken up after its lease.
    let last = async { while under_way.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), last).await;
    under_way.shutdown().await;
}

/// A commit, and a moment in which more may come; those are looked at together.
async fn noticed(notices: &mut broadcast::Receiver<Committed>) {
    // Missed or closed: the look that follows misses nothing.
    let _ = notices.recv().await;
    tokio::time::sleep(NOTICE_PAUSE).await;
    *notices = notices.resubscribe();
}
