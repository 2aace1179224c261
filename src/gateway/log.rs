//! What the gateway asks of the event log: a boundary that the commands of `completion` implement.
//!
//! **Contract.** Each method resolves to a receipt only once its event is durable; an error means that the caller must
//! not count on it. `authorise` is the fence of an Idempotency-Key: of all calls under one key, in all processes,
//! at most one is authorised, and the others learn where it stands; `seen` asks the same beforehand, and fences nothing. `settle` and `fail` are repeated when the log was
//! away, so a repetition of the same ending answers with the receipt of the first. A completion that was booked
//! as lost meanwhile is corrected by them. None of them waits longer than the log's own time limits.

use counterfoil_events::command::CommandContext;
use counterfoil_events::completion::{Authorization, Denial, Failure, Settlement};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::{CompletionId, Position};
use futures::future::BoxFuture;

/// The event is not known to be durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The log is away, busy or stopping; the same call may succeed later.
    #[error("the log does not take events at the moment: {0}")]
    Unavailable(String),
    /// Whether the event is durable could not be found out; the same call, repeated, finds it if it is.
    #[error("it is not known whether the log took the event: {0}")]
    OutcomeUnknown(String),
    /// The log refuses the event: a defect, or a tenant that takes none.
    #[error("the log refuses the event: {0}")]
    Refused(String),
}

/// Why a call is not authorised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthoriseError {
    /// As for every event.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another call with this Idempotency-Key and the same body was authorised.
    #[error("the Idempotency-Key was used at position {position}")]
    KeySeen {
        /// Where its authorisation stands.
        position: Position,
        /// Whether it has ended; otherwise it is under way.
        ended: bool,
    },
    /// Another call with this Idempotency-Key and another body was.
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
}

/// Records what happens to completions. See the module's contract.
pub trait CompletionLog: Send + Sync {
    /// Where the earlier call under this Idempotency-Key stands, as an error like `authorise`'s; nothing if the key is
    /// free or the call has none.
    fn seen<'a>(&'a self, context: &'a CommandContext) -> BoxFuture<'a, Result<(), AuthoriseError>>;

    /// Everything allowed the call; the provider may be called once this has resolved.
    fn authorise<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Authorization,
    ) -> BoxFuture<'a, Result<Receipt, AuthoriseError>>;

    /// The call was denied.
    fn deny<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Denial,
    ) -> BoxFuture<'a, Result<Receipt, LogError>>;

    /// The answer is there.
    fn settle<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Settlement,
    ) -> BoxFuture<'a, Result<Receipt, LogError>>;

    /// There is no whole answer.
    fn fail<'a>(
        &'a self,
        context: &'a CommandContext,
        id: CompletionId,
        record: Failure,
    ) -> BoxFuture<'a, Result<Receipt, LogError>>;
}
