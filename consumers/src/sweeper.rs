//! The sweeper: ends completions that nobody ended.
//!
//! A completion is authorised before the provider is called, by a process that may die before it says how the call
//! ended. A minute after the time that the whole call may take, by Postgres's clock, the completion counts as lost and
//! is booked at its upper bound; whoever still settles it then corrects that (`Completion`).
//!
//! 1. *Find* what is overdue in the read model of completions, of all tenants, by an index that holds only what is
//!    under way.
//! 2. *Declare lost* by a command at the sequence that the aggregate has: the read model may lag, the log decides. Of
//!    many sweepers one gets it in, the others are refused.

use std::time::Duration;

use counterfoil_events::actor::Actor;
use counterfoil_events::backbone::Heartbeat;
use counterfoil_events::command::{CommandContext, CommandError, CommandHandler, Extras, LoadError, Target};
use counterfoil_events::completion::{Completion, CompletionCommand, CompletionError};
use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::{Database, LogReader, Sequencer};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long after its time a completion counts as lost: a settlement that waits for a database in trouble is late, not
/// lost.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Completions ended in one look; a look that finds so many is followed by another at once.
const BATCH: usize = 200;
/// Reads the index of what is under way (`read.completions` shows `completions (settle_by)`). Oldest first.
const OVERDUE: &str = "SELECT tenant_id, key FROM read.completions \
                       WHERE settle_by IS NOT NULL AND settle_by < $1 ORDER BY settle_by LIMIT $2";

/// A running sweeper.
pub struct Sweeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Looks for completions that nobody ended, and ends them.
pub struct Sweep {
    reader: LogReader,
    read_models: PgPool,
    completions: CommandHandler<Completion>,
}

/// What it stands on does not answer; it tries again.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// What is overdue cannot be read.
    #[error("the overdue completions cannot be read: {0}")]
    Postgres(#[from] sqlx::Error),
    /// The log takes no events.
    #[error("the log does not take the loss of completion {completion} of tenant {tenant}: {source}")]
    Log {
        /// Whose.
        tenant: TenantId,
        /// Which.
        completion: String,
        /// Why not.
        source: CommandError<CompletionError>,
    },
}

impl Sweeper {
    /// Starts it.
    #[must_use]
    pub fn start(sweep: Sweep) -> Self {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            until.run_until_cancelled(sweep.run()).await;
        });
        Self { stop, task }
    }

    /// Ends it; what it has not got to is another's, or is found at the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the sweeper ended badly");
        }
    }
}

impl Sweep {
    /// Over the projector's connections, which see all tenants.
    #[must_use]
    pub fn new(sequencer: Sequencer, database: &Database) -> Self {
        Self {
            reader: sequencer.reader().clone(),
            read_models: database.projector().clone(),
            completions: CommandHandler::new(sequencer),
        }
    }

    async fn run(self) {
        let heartbeat = Heartbeat::new("sweeper");
        loop {
            heartbeat.beat();
            match self.look(PATIENCE).await {
                Ok(lost) if lost == BATCH => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the sweeper tries again"),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Ends what has been overdue for `patience`, one batch at most; answers how many were lost.
    ///
    /// # Errors
    /// When Postgres does not answer, or the log takes no events; the rest is left for the next look.
    pub async fn look(&self, patience: Duration) -> Result<usize, SweepError> {
        let Some(before) = self.reader.now().await?.checked_sub(patience) else {
            return Ok(0);
        };
        let overdue: Vec<(Uuid, String)> = sqlx::query_as(OVERDUE)
            .bind(before.to_string())
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .fetch_all(&self.read_models)
            .await?;
        let mut lost = 0;
        for (tenant, completion) in overdue {
            lost += usize::from(self.declare_lost(TenantId(tenant), completion).await?);
        }
        Ok(lost)
    }

    /// Whether it was lost; if not, somebody has ended it and the read model lags.
    async fn declare_lost(&self, tenant: TenantId, completion: String) -> Result<bool, SweepError> {
        let context = CommandContext {
            tenant,
            actor: Actor::system("sweeper"),
            request_id: Uuid::now_v7().to_string(),
            traceparent: None,
            causation: None,
            idempotency: None,
        };
        let target = Target::Existing(completion.clone());
        let declared = self
            .completions
            .execute(
                &context,
                target,
                CompletionCommand::DeclareLost,
                Extras::default(),
            )
            .await;
        match declared {
            Ok(_) => {
                metrics::counter!("counterfoil_completions_lost_total").increment(1);
                tracing::warn!(%tenant, completion, "nobody said how a completion ended; it is booked at its upper bound");
                Ok(true)
            }
            Err(CommandError::Rejected(CompletionError::AlreadyEnded)) => Ok(false),
            Err(source) if is_of_the_log(&source) => Err(SweepError::Log {
                tenant,
                completion,
                source,
            }),
            // One that cannot be ended must not keep the others waiting.
            Err(error) => {
                tracing::error!(%tenant, completion, %error, "a completion cannot be ended");
                Ok(false)
            }
        }
    }
}

/// Whether the next completion would meet with the same.
fn is_of_the_log(error: &CommandError<CompletionError>) -> bool {
    match error {
        CommandError::Append(error) => error.is_retryable(),
        CommandError::Load(error) => matches!(error, LoadError::Postgres(_)),
        CommandError::Rejected(_) | CommandError::Encode(_) => false,
    }
}
