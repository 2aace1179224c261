//! The sweeper: ends completions that nobody ended.
//!
//! A completion is authorised before the provider is called, by a process that may die before it says how the call
//! ended. A minute after the time that the whole call may take, by Postgres's clock, the completion counts as lost and
//! is booked at its upper bound; whoever still settles it then corrects that (`Completion`).
//!
//! 1. *Find* what is overdue in the read model of completions, of all tenants, by an index that holds only what is
//!    under way: oldest first, page after page, so that those that cannot be ended keep no others waiting.
//! 2. *Declare lost* by a command at the sequence that the aggregate has: the read model may lag, the log decides. Of
//!    many sweepers one gets it in, the others are refused.

use std::collections::HashSet;
use std::time::Duration;

use counterfoil_events::actor::Actor;
use counterfoil_events::background::{Background, Heartbeat};
use counterfoil_events::command::{CommandContext, CommandError, CommandHandler, Extras, LoadError, Target};
use counterfoil_events::completion::{Completion, CompletionCommand, CompletionError};
use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::{AppendError, Database, LogReader, Sequencer};
use counterfoil_events::timestamp::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

/// How long after its time a completion counts as lost: a settlement that waits for a database in trouble is late, not
/// lost.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Completions read at once.
const BATCH: usize = 200;
/// Reads the index of what is under way (`read.completions` shows `completions (settle_by)`). Oldest first.
const OVERDUE: &str = "SELECT settle_by, tenant_id, key FROM read.completions \
                       WHERE settle_by IS NOT NULL AND settle_by < $1 AND settle_by >= $2 \
                         AND (settle_by, tenant_id, key) > ($2, $3, $4) \
                       ORDER BY settle_by, tenant_id, key LIMIT $5";

/// Looks for completions that nobody ended, and ends them.
pub struct Sweep {
    reader: LogReader,
    read_models: PgPool,
    completions: CommandHandler<Completion>,
}

/// What came of declaring a completion lost.
enum Declared {
    Lost,
    /// Somebody has ended it and the read model lags, or it cannot be ended.
    Ended,
    /// Its tenant takes no events at all.
    Stopped,
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

/// Starts to sweep. Stopped, what it has not got to is another's, or is found at the next start.
pub fn start(sweep: Sweep) -> Background {
    Background::start("sweeper", |heartbeat| sweep.run(heartbeat))
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

    async fn run(self, heartbeat: Heartbeat) {
        loop {
            heartbeat.beat();
            match self.look_beating(PATIENCE, &|| heartbeat.beat()).await {
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the sweeper tries again"),
            }
            heartbeat.during(tokio::time::sleep(INTERVAL)).await;
        }
    }

    /// Ends what has been overdue for `patience`; answers how many were lost.
    ///
    /// # Errors
    /// When Postgres does not answer, or the log takes no events; the rest is left for the next look.
    pub async fn look(&self, patience: Duration) -> Result<usize, SweepError> {
        self.look_beating(patience, &|| ()).await
    }

    async fn look_beating(
        &self,
        patience: Duration,
        beat: &(dyn Fn() + Send + Sync),
    ) -> Result<usize, SweepError> {
        let Some(before) = self.reader.now().await?.checked_sub(patience) else {
            return Ok(0);
        };
        let (mut lost, mut stopped) = (0, HashSet::new());
        let mut after = (String::new(), Uuid::nil(), String::new());
        loop {
            beat();
            let overdue = self.overdue(before, &after).await?;
            let Some(last) = overdue.last().cloned() else {
                return Ok(lost);
            };
            for (_, tenant, completion) in overdue {
                let tenant = TenantId(tenant);
                if stopped.contains(&tenant) {
                    continue;
                }
                beat();
                match self.declare_lost(tenant, completion).await? {
                    Declared::Lost => lost += 1,
                    Declared::Ended => {}
                    Declared::Stopped => drop(stopped.insert(tenant)),
                }
            }
            after = last;
        }
    }

    /// The next page of what is overdue.
    async fn overdue(
        &self,
        before: Timestamp,
        (settle_by, tenant, key): &(String, Uuid, String),
    ) -> Result<Vec<(String, Uuid, String)>, sqlx::Error> {
        sqlx::query_as(OVERDUE)
            .bind(before.to_string())
            .bind(settle_by)
            .bind(tenant)
            .bind(key)
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
            .fetch_all(&self.read_models)
            .await
    }

    async fn declare_lost(&self, tenant: TenantId, completion: String) -> Result<Declared, SweepError> {
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
                Ok(Declared::Lost)
            }
            Err(CommandError::Rejected(CompletionError::AlreadyEnded)) => Ok(Declared::Ended),
            Err(CommandError::Append(error @ AppendError::Quarantined { .. })) => {
                tracing::error!(%tenant, %error, "the completions of a tenant cannot be ended");
                Ok(Declared::Stopped)
            }
            Err(source) if is_of_the_log(&source) => Err(SweepError::Log {
                tenant,
                completion,
                source,
            }),
            // One that cannot be ended must not keep the others waiting.
            Err(error) => {
                tracing::error!(%tenant, completion, %error, "a completion cannot be ended");
                Ok(Declared::Ended)
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
