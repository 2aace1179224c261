//! Carrying out one run: claim, measure, record.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::actor::Actor;
use counterfoil_events::command::{CommandContext, CommandError, CommandHandler, Extras, LoadError, Target};
use counterfoil_events::ids::TenantId;
use counterfoil_events::kri::aggregates::indicator::{Kri, KriDefinition};
use counterfoil_events::kri::aggregates::run::{
    KriRun, KriRunCommand, KriRunError, Measured, OpenRun as Claimed,
};
use counterfoil_events::kri::aggregates::source::KriSource;
use counterfoil_events::kri::source::{CsvSource, SourceConfig};
use counterfoil_events::ledger::Sequencer;
use counterfoil_events::organisation::Organisation;
use counterfoil_events::tenant::Tenant;
use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;

use super::watch::{Ending, OpenRun};
use super::{Failure, Measure, Measurement, RunnerOptions};

/// A source that took longer than its lease allows has lost it anyway.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

const KRI_RETIRED: Code = Code::literal("kri_retired");
const SOURCE_DISABLED: Code = Code::literal("source_disabled");
const DOCUMENT_MISSING: Code = Code::literal("document_unavailable");
const TENANT_SUSPENDED: Code = Code::literal("tenant_suspended");
const TIMED_OUT: Code = Code::literal("timed_out");

/// The commands that a runner issues.
pub(super) struct Runner<M> {
    sequencer: Sequencer,
    kris: CommandHandler<Kri>,
    sources: CommandHandler<KriSource>,
    runs: CommandHandler<KriRun>,
    tenants: CommandHandler<Tenant>,
    organisations: CommandHandler<Organisation>,
    measure: Arc<M>,
    options: RunnerOptions,
}

/// A step of a run that could not be taken; the run stays open, and is taken up again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Command(#[from] CommandError<KriRunError>),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
}

impl<M: Measure> Runner<M> {
    pub(super) fn new(sequencer: Sequencer, measure: Arc<M>, options: RunnerOptions) -> Self {
        Self {
            kris: CommandHandler::new(sequencer.clone()),
            sources: CommandHandler::new(sequencer.clone()),
            runs: CommandHandler::new(sequencer.clone()),
            tenants: CommandHandler::new(sequencer.clone()),
            organisations: CommandHandler::new(sequencer.clone()),
            sequencer,
            measure,
            options,
        }
    }

    /// Claims, measures and records; answers the run and how it went, so that the watch lets go of it.
    pub(super) async fn carry_out(&self, run: OpenRun) -> (OpenRun, Ending) {
        let ending = match self.try_carry_out(&run).await {
            Ok(()) => Ending::Settled,
            // Another runner was quicker, or took over: that is what the refusal is for.
            Err(StepError::Command(CommandError::Rejected(error))) => {
                tracing::debug!(tenant = %run.tenant, run = run.id, %error, "the run is another's");
                Ending::Settled
            }
            Err(error) => {
                tracing::warn!(tenant = %run.tenant, run = run.id, %error, "a KRI run is taken up again");
                Ending::Failed
            }
        };
        (run, ending)
    }

    async fn try_carry_out(&self, run: &OpenRun) -> Result<(), StepError> {
        let Some(claimed) = self.claim(run).await? else {
            return Ok(());
        };
        fail::fail_point!("runner.after_claim");
        let outcome = match self.prepare(run, &claimed).await? {
            Ok((definition, source)) => {
                let at = claimed
                    .measured_at
                    .unwrap_or(self.sequencer.reader().now().await?);
                let measured = self.measure_within_lease(run, source, at).await;
                measured.map(|measurement| measured_by(&claimed, definition, measurement, at))
            }
            Err(failure) => Err(failure),
        };
        let command = match outcome {
            Ok(measured) => KriRunCommand::Complete(Box::new(measured)),
            Err(Failure { code, detail }) => {
                tracing::info!(tenant = %run.tenant, run = run.id, code = %code, detail, "a KRI run has no value");
                KriRunCommand::Fail {
                    attempt: claimed.attempt,
                    code,
                }
            }
        };
        self.command(run, command).await
    }

    /// Step 2. None when the third lease was lost and the claim ended the run instead.
    async fn claim(&self, run: &OpenRun) -> Result<Option<Claimed>, StepError> {
        let start = KriRunCommand::Start {
            runner: self.options.name.clone(),
            lease_ms: u32::try_from(self.options.lease.as_millis()).unwrap_or(u32::MAX),
            now: self.sequencer.reader().now().await?,
        };
        self.command(run, start).await?;
        match &self.runs.load(run.tenant, &run.id).await?.state {
            KriRun::Open(claimed) => Ok(Some(claimed.clone())),
            _ => Ok(None),
        }
    }

    /// The KRI and the source as they are now; a CSV document as text.
    async fn prepare(
        &self,
        run: &OpenRun,
        claimed: &Claimed,
    ) -> Result<Result<(KriDefinition, SourceConfig), Failure>, StepError> {
        let failure = |code: Code, detail: &str| {
            Ok(Err(Failure {
                code,
                detail: detail.to_owned(),
            }))
        };
        if self.is_stopped(run.tenant).await? {
            return failure(TENANT_SUSPENDED, "the tenant is suspended, or has ended");
        }
        let kri = self.kris.load_fresh(run.tenant, claimed.kri.as_str()).await?;
        let Some(definition) = kri.state.in_use() else {
            return failure(KRI_RETIRED, "the KRI is not in use");
        };
        let source = self
            .sources
            .load_fresh(run.tenant, &claimed.source.to_string())
            .await?;
        let Some(details) = source.state.details.as_ref().filter(|details| !details.disabled) else {
            return failure(SOURCE_DISABLED, "the source is disabled");
        };
        let config = details.config.config().clone();
        let Some(reference) = config.document() else {
            return Ok(Ok((definition.clone(), config)));
        };
        match (
            self.sequencer
                .reader()
                .document(run.tenant, reference.digest)
                .await?,
            config,
        ) {
            (Some(document), SourceConfig::Csv(csv)) => {
                let csv: CsvSource = csv.with_text(document.body().to_owned());
                Ok(Ok((definition.clone(), SourceConfig::Csv(csv))))
            }
            _ => failure(DOCUMENT_MISSING, "the source's document is not there"),
        }
    }

    /// Whether a tenant takes no part in anything: nothing is fetched for it, and no credential opened.
    async fn is_stopped(&self, tenant: TenantId) -> Result<bool, LoadError> {
        let entry = self
            .tenants
            .load_fresh(TenantId::PLATFORM, &tenant.to_string())
            .await?;
        let Some(entry) = entry.state.details.as_ref() else {
            return Ok(false);
        };
        if entry.suspended.is_some() || entry.end.is_some() {
            return Ok(true);
        }
        let id = entry.organisation.to_string();
        let organisation = self.organisations.load_fresh(TenantId::PLATFORM, &id).await?;
        Ok(organisation
            .state
            .details
            .as_ref()
            .is_some_and(|details| details.suspended))
    }

    /// Step 3.
    async fn measure_within_lease(
        &self,
        run: &OpenRun,
        source: SourceConfig,
        at: Timestamp,
    ) -> Result<Measurement, Failure> {
        let patience = self
            .options
            .lease
            .saturating_sub(LEASE_MARGIN)
            .max(Duration::from_secs(1));
        let measuring = self.measure.measure(run.tenant, source, at);
        tokio::time::timeout(patience, measuring)
            .await
            .unwrap_or_else(|_| {
                Err(Failure {
                    code: TIMED_OUT,
                    detail: format!("no value within {} s", patience.as_secs()),
                })
            })
    }

    /// Steps 2 and 4.
    async fn command(&self, run: &OpenRun, command: KriRunCommand) -> Result<(), StepError> {
        let context = CommandContext {
            tenant: run.tenant,
            actor: Actor::system("kri-runner"),
            request_id: uuid::Uuid::now_v7().to_string(),
            traceparent: None,
            causation: None,
            idempotency: None,
        };
        let target = Target::Existing(run.id.clone());
        self.runs
            .execute(&context, target, command, Extras::default())
            .await?;
        Ok(())
    }
}

fn measured_by(
    claimed: &Claimed,
    definition: KriDefinition,
    measurement: Measurement,
    run_at: Timestamp,
) -> Measured {
    let KriDefinition { bands, schedule, .. } = definition;
    Measured {
        attempt: claimed.attempt,
        value: measurement.value,
        // A source that dates itself later than the run is not believed.
        measured_at: claimed
            .measured_at
            .unwrap_or(measurement.observed_at.unwrap_or(run_at).min(run_at)),
        bands,
        schedule,
        payload_digest: measurement.payload_digest,
        payload_bytes: measurement.payload_bytes,
        positions: measurement.positions,
    }
}
