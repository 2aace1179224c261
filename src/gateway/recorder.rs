//! The completion log over the event log's commands: what `log` promises, kept.

use std::sync::Arc;

use counterfoil_events::command::{CommandContext, CommandError, Executed, Extras, LoadError, Target};
use counterfoil_events::completion::{
    Authorization, Completion, CompletionCommand, CompletionError, Denial, Failure, Settlement,
};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::{CompletionId, Sequence, TenantId};
use counterfoil_events::ledger::{AppendError, StoredEvent};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::log::{AuthoriseError, CompletionLog, LogError};
use crate::commands::Commands;

/// Records completions through the commands of their context.
pub struct Recorder {
    commands: Arc<Commands>,
}

impl Recorder {
    /// Over all contexts' commands.
    #[must_use]
    pub fn new(commands: Arc<Commands>) -> Self {
        Self { commands }
    }

    async fn decide(
        &self,
        context: &CommandContext,
        id: CompletionId,
        command: CompletionCommand,
    ) -> Result<Executed, CommandError<CompletionError>> {
        let target = Target::New(id.to_string());
        self.commands
            .completions
            .execute(context, target, command, Extras::default())
            .await
    }

    async fn authorise(
        &self,
        context: &CommandContext,
        id: CompletionId,
        record: Authorization,
    ) -> Result<Receipt, AuthoriseError> {
        let executed = match self
            .decide(context, id, CompletionCommand::Authorize(Box::new(record)))
            .await
        {
            Err(CommandError::Append(AppendError::KeyReused)) => return Err(AuthoriseError::KeyReused),
            Err(CommandError::Append(AppendError::OutcomeUnknown(_))) => {
                return Ok(self.taken_after_all(context.tenant, id).await?);
            }
            other => other.map_err(log_error)?,
        };
        if executed.replayed {
            return Err(self.standing(context.tenant, &executed).await?);
        }
        Ok(first(&executed)?)
    }

    /// The receipt of a first event whose outcome was not known: nobody else writes under an id just made, so if there
    /// is an event it is that one.
    ///
    /// # Errors
    /// [`LogError::OutcomeUnknown`] while there is none: it may still come.
    async fn taken_after_all(&self, tenant: TenantId, id: CompletionId) -> Result<Receipt, LogError> {
        let reader = self.commands.sequencer.reader();
        let events = reader
            .aggregate(tenant, Completion::TYPE, &id.to_string(), Sequence::ZERO)
            .await;
        let unknown = |cause: String| LogError::OutcomeUnknown(cause);
        let events = events.map_err(|error| unknown(error.to_string()))?;
        let first = events.first().map(StoredEvent::receipt);
        first.ok_or_else(|| unknown("the log does not hold it so far".to_owned()))
    }

    async fn seen(&self, context: &CommandContext) -> Result<(), AuthoriseError> {
        match self.commands.completions.earlier(context).await {
            Ok(None) => Ok(()),
            Ok(Some(executed)) => Err(self.standing(context.tenant, &executed).await?),
            Err(CommandError::Append(AppendError::KeyReused)) => Err(AuthoriseError::KeyReused),
            Err(error) => Err(log_error(error).into()),
        }
    }

    /// Where a call stands that was authorised before.
    async fn standing(&self, tenant: TenantId, executed: &Executed) -> Result<AuthoriseError, LogError> {
        Ok(AuthoriseError::KeySeen {
            position: first(executed)?.position,
            ended: self.has_ended(tenant, &executed.aggregate_id).await?,
        })
    }

    async fn has_ended(&self, tenant: TenantId, id: &str) -> Result<bool, LogError> {
        let loaded = self
            .commands
            .completions
            .load_fresh(tenant, id)
            .await
            .map_err(unreadable)?;
        Ok(!matches!(loaded.state, Completion::Authorized(_)))
    }

    /// An ending; the same one again answers with the receipt of the first.
    async fn end(
        &self,
        context: &CommandContext,
        id: CompletionId,
        command: CompletionCommand,
    ) -> Result<Receipt, LogError> {
        // The key was the authorisation's: one key, one completion.
        let context = CommandContext {
            idempotency: None,
            ..context.clone()
        };
        let target = Target::Existing(id.to_string());
        match self
            .commands
            .completions
            .execute(&context, target, command, Extras::default())
            .await
        {
            Err(CommandError::Rejected(CompletionError::AlreadyEnded)) => {
                self.last_receipt(context.tenant, id).await
            }
            other => first(&other.map_err(log_error)?),
        }
    }

    async fn last_receipt(&self, tenant: TenantId, id: CompletionId) -> Result<Receipt, LogError> {
        let reader = self.commands.sequencer.reader();
        let events = reader
            .aggregate(tenant, Completion::TYPE, &id.to_string(), Sequence::ZERO)
            .await;
        let events = events.map_err(|error| unreadable(error.into()))?;
        let last = events
            .last()
            .ok_or_else(|| LogError::Refused("an ended completion has no events".to_owned()))?;
        Ok(last.receipt())
    }
}

fn first(executed: &Executed) -> Result<Receipt, LogError> {
    executed
        .receipts
        .first()
        .cloned()
        .ok_or_else(|| LogError::Refused("a command without a receipt".to_owned()))
}

fn unreadable(error: LoadError) -> LogError {
    LogError::Unavailable(error.to_string())
}

fn log_error(error: CommandError<CompletionError>) -> LogError {
    match error {
        CommandError::Append(error) if error.may_be_written() => LogError::OutcomeUnknown(error.to_string()),
        CommandError::Append(error) if error.is_retryable() => LogError::Unavailable(error.to_string()),
        CommandError::Load(error) => unreadable(error),
        other => LogError::Refused(other.to_string()),
    }
}

impl CompletionLog for Recorder {
    fn seen<'a>(&'a self, context: &'a CommandContext) -> BoxFuture<'a, Result<(), AuthoriseError>> {
        self.seen(context).boxed()
    }

    fn authorise<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Authorization,
    ) -> BoxFuture<'a, Result<Receipt, AuthoriseError>> {
        self.authorise(context, id, record).boxed()
    }

    fn deny<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Denial,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        async move {
            // A denied call leaves its key free: the same request may be allowed later.
            let context = CommandContext {
                idempotency: None,
                ..context.clone()
            };
            let denied = self
                .decide(&context, id, CompletionCommand::Deny(Box::new(record)))
                .await;
            match denied {
                Err(CommandError::Append(AppendError::OutcomeUnknown(_))) => {
                    self.taken_after_all(context.tenant, id).await
                }
                denied => first(&denied.map_err(log_error)?),
            }
        }
        .boxed()
    }

    fn settle<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Settlement,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        self.end(context, id, CompletionCommand::Settle(Box::new(record)))
            .boxed()
    }

    fn fail<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Failure,
    ) -> BoxFuture<'a, Result<Receipt, LogError>> {
        self.end(context, id, CompletionCommand::Fail(Box::new(record)))
            .boxed()
    }
}
