//! A command over HTTP: who asks becomes the event's actor, what was done becomes a receipt, what was refused a
//! problem document. Every context's commands pass here, so that one mapping serves them all.

use std::time::Duration;

use counterfoil_events::command::{CommandContext, CommandError, CommandHandler, Executed, Extras, Target};
use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::{AppendError, IdempotencyClaim};
use counterfoil_events::rejection::{Rejection, RejectionKind};
use counterfoil_events::schema::EventSourced;
use counterfoil_events::security::SecurityState;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{HeaderName, HeaderValue, StatusCode};

use super::answer::{self, Answer};
use super::context::{self, RequestContext};
use super::problem::{self, ApiError};
use super::request::Request;

/// How long an answer waits for what it says to be heeded here.
const HEEDED_WITHIN: Duration = Duration::from_secs(1);

/// The answer to a command: what it is about, and the proof that it was recorded.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandAnswer {
    /// The thing that the command made or changed.
    pub id: String,
    /// One per event.
    pub receipts: Vec<ReceiptBody>,
    /// True when this is the first answer to an earlier request with the same Idempotency-Key.
    pub replayed: bool,
}

/// Where an event stands, and what proves it. Keep it: with the event's bytes it shows what was agreed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReceiptBody {
    /// Whose log.
    pub tenant: String,
    /// Where in it.
    pub position: u64,
    /// The event's own id.
    pub event_id: String,
    /// BLAKE3 of its envelope, 64 hexadecimal digits.
    pub hash: String,
    /// The key that signed, 16 hexadecimal digits.
    pub key_id: String,
    /// Ed25519 over the hash, 128 hexadecimal digits.
    pub signature: String,
}

impl From<&Receipt> for ReceiptBody {
    fn from(receipt: &Receipt) -> Self {
        Self {
            tenant: receipt.tenant.to_string(),
            position: receipt.position.0,
            event_id: receipt.event_id.to_string(),
            hash: receipt.hash.to_string(),
            key_id: receipt.key_id.to_string(),
            signature: receipt.signature.to_string(),
        }
    }
}

impl RequestContext {
    /// The same for the command that this request carries, in `tenant`'s log.
    #[must_use]
    pub fn command(&self, tenant: TenantId) -> CommandContext {
        let (actor, principal) = (self.principal.actor(), self.principal.scope());
        let idempotency = self.idempotency_key.as_ref().map(|key| {
            // The request's fingerprint covers method, path and body.
            IdempotencyClaim::new(&principal, self.route, key.as_str(), &self.fingerprint.0)
        });
        CommandContext {
            tenant,
            actor,
            request_id: self.request_id.to_string(),
            traceparent: self.traceparent.as_ref().map(|parent| parent.as_str().to_owned()),
            causation: None,
            idempotency,
        }
    }
}

impl<B, Q> Request<B, Q> {
    /// Has an aggregate in `log` carry out this request's command.
    ///
    /// # Errors
    /// What the aggregate's rules refuse, or the log does not take.
    pub async fn execute<A: EventSourced>(
        &self,
        handler: &CommandHandler<A>,
        log: TenantId,
        target: Target,
        command: A::Command,
    ) -> Result<Executed, ApiError>
    where
        A::Command: Clone + Send,
    {
        let context = self.context.command(log);
        let executed = handler.execute(&context, target, command, Extras::default());
        Ok(executed.await?)
    }
}

/// 201 for what was made, with where it can be read; none for what is read in a list alone.
///
/// # Errors
/// Never, but for a defect in serialisation.
pub fn made(executed: &Executed, location: Option<&str>) -> Answer {
    let mut response = answer::created(location, &command_answer(executed))?;
    put_positions(&mut response, executed);
    Ok(response)
}

/// 200 for what was changed.
///
/// # Errors
/// Never, but for a defect in serialisation.
pub fn changed(executed: &Executed) -> Answer {
    with_status(StatusCode::OK, executed)
}

/// 202 for what was begun and goes on elsewhere.
///
/// # Errors
/// Never, but for a defect in serialisation.
pub fn begun(executed: &Executed) -> Answer {
    with_status(StatusCode::ACCEPTED, executed)
}

/// Waits, for a moment at the most, until this process heeds what was done: whoever was told that a key was issued or a
/// policy activated goes on with it at once. Others follow within a second, and so does this one if it is busy.
pub async fn heeded(security: &SecurityState, executed: &Executed) {
    let Some(last) = executed.receipts.last() else {
        return;
    };
    let heeds = security.heeds(last.tenant, last.position);
    // Late, it is heeded a moment after the answer.
    let _ = tokio::time::timeout(HEEDED_WITHIN, heeds).await;
}

fn with_status(status: StatusCode, executed: &Executed) -> Answer {
    let mut response = answer::json(status, &command_answer(executed))?;
    put_positions(&mut response, executed);
    Ok(response)
}

/// What a command's answer says, for answers that say more.
#[must_use]
pub fn command_answer(executed: &Executed) -> CommandAnswer {
    CommandAnswer {
        id: executed.aggregate_id.clone(),
        receipts: executed.receipts.iter().map(ReceiptBody::from).collect(),
        replayed: executed.replayed,
    }
}

/// `Counterfoil-Position: <tenant>:<position>`, to be sent back as `Counterfoil-Wait-For`.
pub fn put_positions(response: &mut super::answer::Response, executed: &Executed) {
    let last = executed
        .receipts
        .last()
        .map(|receipt| format!("{}:{}", receipt.tenant, receipt.position));
    if let Some(value) = last.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(context::POSITION), value);
    }
}

impl<E: Rejection> From<CommandError<E>> for ApiError {
    fn from(error: CommandError<E>) -> Self {
        match error {
            CommandError::Rejected(rejection) => rejected(&rejection),
            CommandError::Append(error) => error.into(),
            CommandError::Load(error) => problem::UNAVAILABLE
                .detail("the thing that this command is about could not be loaded; nothing was done")
                .because(error),
            CommandError::Encode(error) => ApiError::internal(error),
        }
    }
}

/// A refusal by an aggregate's rules, with its stable code.
pub fn rejected(rejection: &dyn Rejection) -> ApiError {
    let text = rejection.to_string();
    let error = match rejection.kind() {
        RejectionKind::Invalid { field } => {
            ApiError::refused(rejection.code(), text.clone()).field(format!("/{field}"), text)
        }
        RejectionKind::NotFound => problem::NOT_FOUND.detail(text),
        RejectionKind::Conflict => problem::CONFLICT.detail(text),
    };
    error.with("code", rejection.code())
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        let text = error.to_string();
        match error {
            AppendError::Conflict { .. } => problem::CONFLICT.detail("others keep changing the same thing: try again"),
            AppendError::KeyReused => problem::IDEMPOTENCY_KEY_MISMATCH.detail(text),
            AppendError::MissingTenant(_) => problem::NOT_FOUND.detail("there is no such tenant"),
            AppendError::TooLarge(_) => problem::BODY_TOO_LARGE.detail(text),
            AppendError::OutcomeUnknown(_) | AppendError::ReceiptsUnread(_) => problem::OUTCOME_UNKNOWN.detail(text),
            AppendError::Impossible(_) => ApiError::internal(text),
            AppendError::Quarantined { .. } => problem::UNAVAILABLE
                .detail("this tenant takes no commands: its copies of the log disagree, and an operator must reconcile them")
                .because(text),
            AppendError::KeySuperseded { .. } => problem::UNAVAILABLE
                .detail("the log takes nothing from this process until an operator gives it the new signing key; nothing was done")
                .because(text),
            AppendError::Unavailable(_) => {
                problem::UNAVAILABLE.detail("the log is unavailable; nothing was done").because(text)
            }
            AppendError::Busy { .. } | AppendError::Stopping => problem::UNAVAILABLE.detail(text),
        }
    }
}
