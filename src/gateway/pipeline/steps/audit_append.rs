//! audit.append: the ending becomes a durable event: settled, failed or denied. An answer is only complete once this
//! step has passed, so it fails closed: the body is withheld, a stream ends without `[DONE]`.
//!
//! While the log is away it tries again for [`PATIENCE`]; after that the sweeper books the completion as lost, and
//! nobody was told that it had gone well.

use std::time::{Duration, Instant};

use counterfoil_events::completion::{Denial, Failure, Reasons, Settlement, Verdicts};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::text::Code;
use futures::future::{BoxFuture, FutureExt as _};

use crate::gateway::ending::{Answered, Ending, Failed};
use crate::gateway::log::LogError;
use crate::gateway::pipeline::context::{self, Bill};
use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};

/// How long a caller waits for a log that is away, once its answer is there.
const PATIENCE: Duration = Duration::from_secs(4);
/// First pause between tries; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("audit.append"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Ending,
        run: Run::Waits(run),
    }
}

fn run(context: &mut Context) -> BoxFuture<'_, Verdict> {
    async move {
        let Some(record) = Record::of(context) else {
            return Verdict::missing("ending and its bill");
        };
        match append(context, &record).await {
            Ok(receipt) => {
                context.receipt = Some(receipt);
                Verdict::Pass
            }
            Err(error) => {
                context.outcome_unknown = matches!(error, LogError::OutcomeUnknown(_));
                Verdict::Unavailable(error.to_string())
            }
        }
    }
    .boxed()
}

async fn append(context: &Context, record: &Record) -> Result<Receipt, LogError> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match record.append(context).await {
            // An ending that was taken after all answers with its receipt when it is tried again.
            Err(error @ (LogError::Unavailable(_) | LogError::OutcomeUnknown(_))) => error,
            ended => return ended,
        };
        // A denial has cost nothing and can be asked for again, so nobody waits for its record.
        if matches!(record, Record::Denied(_)) || started.elapsed() + pause > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

enum Record {
    Denied(Denial),
    Settled(Settlement),
    Failed(Failure),
}

impl Record {
    fn of(context: &Context) -> Option<Self> {
        let verdicts = || Verdicts::first_of(ending_verdicts(context));
        match context.ending.as_ref()? {
            Ending::Denied(denial) => denied(context, denial).map(Self::Denied),
            Ending::Answered(answered) => Some(Self::Settled(settled(
                context,
                answered,
                context.bill?,
                verdicts(),
            ))),
            Ending::Failed(failed) => Some(Self::Failed(failure(context, failed, context.bill?, verdicts()))),
        }
    }

    async fn append(&self, context: &Context) -> Result<Receipt, LogError> {
        let (log, command, id) = (&context.services.log, &context.incoming.command, context.id);
        match self {
            Self::Denied(record) => log.deny(command, id, record.clone()).await,
            Self::Settled(record) => log.settle(command, id, record.clone()).await,
            Self::Failed(record) => log.fail(command, id, record.clone()).await,
        }
    }
}

/// Those of the steps after the provider; the ones before stand in the authorisation.
fn ending_verdicts(context: &Context) -> impl Iterator<Item = counterfoil_events::completion::StepVerdict> {
    let ending: Vec<Code> = crate::gateway::pipeline::registry::of_phase(Phase::Ending)
        .map(|step| step.id.clone())
        .collect();
    context
        .verdicts
        .clone()
        .into_iter()
        .filter(move |verdict| ending.contains(&verdict.step))
}

fn denied(context: &Context, denial: &context::Denial) -> Option<Denial> {
    let identity = context.identity.as_ref()?;
    let asked = context.request.as_ref().map(|request| &request.model);
    let decision = context.decision.as_ref();
    Some(Denial {
        agent: identity.agent,
        key_id: identity.key_id,
        model: asked
            .filter(|name| context.services.catalogue.find(name).is_some())
            .cloned(),
        step: denial.step.clone(),
        code: denial.denied.code.clone(),
        reasons: Reasons::first_of(denial.denied.reasons.iter().cloned()),
        policies: identity.policy_refs(),
        policy_input_digest: decision.map(|decision| decision.input_digest),
        request_digest: context.request_digest,
        request_bytes: narrow(context.request_bytes),
        verdicts: Verdicts::first_of(context.verdicts.iter().cloned()),
    })
}

fn settled(context: &Context, answered: &Answered, bill: Bill, verdicts: Verdicts) -> Settlement {
    Settlement {
        usage: bill.usage,
        cost: bill.cost,
        response_digest: answered.digest,
        response_bytes: narrow(answered.delivered.bytes),
        finish_reason: answered.finish_reason,
        attempts: answered.delivered.attempts,
        provider_ms: answered.delivered.provider_ms,
        total_ms: context.elapsed_ms(),
        verdicts,
    }
}

fn failure(context: &Context, failed: &Failed, bill: Bill, verdicts: Verdicts) -> Failure {
    Failure {
        code: failed.code,
        provider_status: failed.provider_status,
        usage: bill.usage,
        cost: bill.cost,
        response_bytes: narrow(failed.delivered.bytes),
        attempts: failed.delivered.attempts,
        provider_ms: failed.delivered.provider_ms,
        total_ms: context.elapsed_ms(),
        verdicts,
    }
}

/// Lengths in events are 32 bits wide, saturating.
pub fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
