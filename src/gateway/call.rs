//! One call from its arrival to its ending, in this order:
//!
//! 1. the steps of the entry and the request phase: a denial ends here, with an event if the call is bound to its tenant;
//!    between them a repeated Idempotency-Key gets the first call's result, whatever policies say since;
//! 2. `CompletionAuthorized` becomes durable: no audit, no call (the fence of the Idempotency-Key is here too);
//! 3. the provider is called; a caller who leaves meanwhile, or a process that must stop, cancels it;
//! 4. the steps of the ending phase: what was used is priced, and `CompletionSettled` or `CompletionFailed` durable;
//! 5. only then is the answer complete: the body is sent, or the stream's `[DONE]` (`streaming`).
//!
//! All of it runs in a task of its own, which the caller's connection does not end: whoever leaves, what was begun is
//! settled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use counterfoil_events::completion::{Authorization, FailureCode, Verdicts};
use counterfoil_events::ids::ContentDigest;
use counterfoil_events::text::Code;
use futures::stream::BoxStream;
use hyper::header::HeaderValue;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::catalogue::Model;
use super::ending::{Answered, Delivered, Ending, Failed, Used, finish_reason};
use super::forward::provider_call;
use super::kept::{self, KeptAnswer};
use super::log::{AuthoriseError, LogError};
use super::pipeline::context::{Context, Denial};
use super::pipeline::runner::{Stopped, run_phase};
use super::pipeline::steps::audit_append::narrow;
use super::pipeline::{Denied, Phase};
use super::reply::{Facts, Replied, Reply};
use super::streaming;
use super::told::{key_reused, key_seen, not_recorded, outcome_unknown, shutting_down};
use super::upstream::{self, Answer, ProviderCall, UpstreamError, UpstreamFault};
use super::wire::ApiError;
use super::wire::response::ChatCompletion;
use crate::vault::sealing::Ready;

/// What a call may take beyond the provider's own limit: to be authorised and settled.
const AROUND_PROVIDER: Duration = Duration::from_secs(10);
/// Events of a stream that wait for a slow caller; then the provider's stream is no longer read.
const EVENTS_IN_FLIGHT: usize = 64;

/// An answer is kept after its ending is durable: a repeat that comes between the two looks once more after this.
const KEEPING: Duration = Duration::from_millis(100);

/// Where the reply goes. It closes when the caller leaves.
pub type ReplyTo = oneshot::Sender<Replied>;

/// Runs one call.
pub async fn run(mut context: Context, reply: ReplyTo) {
    if let Err(stopped) = run_phase(&mut context, Phase::Entry).await {
        return refuse(context, stopped, reply).await;
    }
    let (log, command) = (&context.services.log, &context.incoming.command);
    if let Err(error) = log.seen(command).await {
        let replied = unauthorised(&context, error).await;
        return drop(reply.send(replied));
    }
    if let Err(stopped) = run_phase(&mut context, Phase::Request).await {
        return refuse(context, stopped, reply).await;
    }
    let (model, call) = match provider_call(&context) {
        Ok(call) => call,
        Err(error) => {
            tracing::error!(completion = %context.id, %error, "a call that passed its checks cannot be forwarded");
            return send(&context, reply, Err(ApiError::internal()));
        }
    };
    match authorise(&mut context).await {
        Ok(()) => answer(context, model, call, reply).await,
        Err(replied) => drop(reply.send(*replied)),
    }
}

/// Ends a call that a step has stopped.
async fn refuse(mut context: Context, stopped: Stopped, reply: ReplyTo) {
    let (denial, checked) = match stopped {
        Stopped::Denied(denial) => (denial, true),
        Stopped::Unavailable { step, error, cause } => {
            tracing::warn!(completion = %context.id, cause, "a call could not be checked");
            (unchecked(step, error), false)
        }
    };
    super::count::refused(&denial);
    let error = denial.denied.error.clone();
    let recorded = context.bound && denial.denied.recorded;
    context.ending = Some(Ending::Denied(denial));
    let outcome = if recorded { end(&mut context).await } else { Ok(()) };
    // Who could not be checked is told so, whether or not the log takes it.
    let outcome = if checked { outcome } else { Ok(()) };
    send(&context, reply, outcome.and(Err(error)));
}

/// As the log knows a call that a step could not check.
fn unchecked(step: Code, error: ApiError) -> Denial {
    let denied = Denied {
        code: super::count::CHECK_UNAVAILABLE,
        reasons: Vec::new(),
        error,
        recorded: true,
    };
    Denial { step, denied }
}

/// Makes the authorisation durable, or says why the provider is not called.
async fn authorise(context: &mut Context) -> Result<(), Box<Replied>> {
    let refused = |context: &Context, error| Box::new(Replied::error(error, Facts::of(context)));
    let Some(record) = authorization(context) else {
        tracing::error!(completion = %context.id, "a call that passed its checks has no authorisation");
        return Err(refused(context, ApiError::internal()));
    };
    let log = context.services.log.clone();
    match log.authorise(&context.incoming.command, context.id, record).await {
        Ok(receipt) => {
            context.receipt = Some(receipt);
            Ok(())
        }
        Err(error) => Err(Box::new(unauthorised(context, error).await)),
    }
}

/// Why the provider is not called, for the caller; the kept answer where an earlier call has one.
async fn unauthorised(context: &Context, error: AuthoriseError) -> Replied {
    let mut facts = Facts::of(context);
    match error {
        AuthoriseError::Log(error) => {
            tracing::warn!(completion = %context.id, %error, "a call could not be authorised");
            let error = match error {
                LogError::OutcomeUnknown(_) => outcome_unknown(),
                LogError::Unavailable(_) | LogError::Refused(_) => not_recorded(),
            };
            Replied::error(error, facts)
        }
        AuthoriseError::KeyReused => Replied::error(key_reused(), facts),
        AuthoriseError::KeySeen { position, ended } => {
            facts.position = Some((context.incoming.command.tenant, position));
            let kept = if ended { kept_answer(context).await } else { None };
            match kept {
                Some(answer) => Replied {
                    reply: Reply::Kept(answer),
                    facts,
                },
                None => Replied::error(key_seen(ended), facts),
            }
        }
    }
}

async fn kept_answer(context: &Context) -> Option<KeptAnswer> {
    match kept::find(context).await {
        None => {
            tokio::time::sleep(KEEPING).await;
            kept::find(context).await
        }
        kept => kept,
    }
}

fn authorization(context: &Context) -> Option<Authorization> {
    let (identity, request) = (context.identity.as_ref()?, context.request.as_ref()?);
    let (model, reservation) = (context.model.as_ref()?, context.reservation.as_ref()?);
    let timeout = model.provider.total_timeout() + AROUND_PROVIDER;
    Some(Authorization {
        agent: identity.agent,
        key_id: identity.key_id,
        model: request.model.clone(),
        provider: model.provider.name().clone(),
        stream: request.stream,
        policies: identity.policy_refs(),
        policy_input_digest: context.decision.as_ref()?.input_digest,
        request_digest: context.request_digest,
        request_bytes: narrow(context.request_bytes),
        input_tokens_bound: narrow(reservation.input_tokens),
        output_tokens_cap: narrow(reservation.output_tokens),
        max_cost: reservation.max_cost,
        price: reservation.price.reference(),
        verdicts: Verdicts::first_of(context.verdicts.iter().cloned()),
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        secret: context.provider_key.as_ref().map(|ready| ready.of().reference()),
    })
}

/// Calls the provider and ends the call by what comes of it.
async fn answer(mut context: Context, model: Arc<Model>, mut call: ProviderCall, mut reply: ReplyTo) {
    let asked = streaming::Asked {
        include_usage: call.request.include_usage,
        choices: call.request.choices,
    };
    context.release_request();
    if reply.is_closed() {
        let gone = Failed::before_content(FailureCode::ClientGone, None, Used::Nothing, 0, 0);
        return fail(context, gone, ApiError::internal(), reply).await;
    }
    if let Some(ready) = context.provider_key.take() {
        let Some(authorization) = bearer(&ready) else {
            let secret = &ready.of().secret;
            tracing::error!(completion = %context.id, %secret, "the provider's key does not open, or is none");
            let shut = Failed::before_content(FailureCode::Internal, None, Used::Nothing, 0, 0);
            return fail(context, shut, ApiError::internal(), reply).await;
        };
        call.authorization = Some(authorization);
    }
    fail::fail_point!("gateway.before_call");
    let (called, sent) = (Instant::now(), call.attempts.clone());
    let answered = tokio::select! {
        biased;
        answered = model.provider.call(call) => Ok(answered),
        () = reply.closed() => Err((FailureCode::ClientGone, ApiError::internal())),
        () = context.incoming.stopping.cancelled() => Err((FailureCode::ShuttingDown, shutting_down())),
    };
    let provider_ms = upstream::elapsed_ms(called);
    match answered {
        Err((code, error)) => {
            // Nobody knows what the provider has done by then, but for one that has got nothing.
            let (attempts, used) = match sent.count() {
                0 => (0, Used::Nothing),
                sent => (sent, Used::Unknown),
            };
            let cancelled = Failed::before_content(code, None, used, attempts, provider_ms);
            fail(context, cancelled, error, reply).await;
        }
        Ok(Err(error)) => unanswered(context, error, provider_ms, reply).await,
        Ok(Ok(upstream::Answered {
            answer: Answer::Whole { body, completion },
            attempts,
        })) => {
            let delivered = Delivered {
                bytes: body.len() as u64,
                attempts,
                provider_ms,
            };
            whole(context, body, &completion, delivered, reply).await;
        }
        Ok(Ok(upstream::Answered {
            answer: Answer::Stream(events),
            attempts,
        })) => {
            let begun = streaming::Begun {
                called,
                attempts,
                asked,
                total_timeout: model.provider.total_timeout(),
            };
            streamed(context, events, begun, reply).await;
        }
    }
}

/// Hands the caller a stream, and runs it to its end.
async fn streamed(
    context: Context,
    events: BoxStream<'static, Result<String, UpstreamFault>>,
    begun: streaming::Begun,
    reply: ReplyTo,
) {
    let (frames, received) = mpsc::channel(EVENTS_IN_FLIGHT);
    let facts = Facts {
        attempts: Some(begun.attempts),
        ..Facts::of(&context)
    };
    // A caller who left in this very moment is noticed by the first send.
    drop(reply.send(Replied {
        reply: Reply::Stream(received),
        facts,
    }));
    streaming::run(context, events, frames, begun).await;
}

/// The header with the provider's key, for one call.
fn bearer(ready: &Ready) -> Option<HeaderValue> {
    let key = ready.open().ok()?;
    let key = std::str::from_utf8(key.expose()).ok()?;
    let text = Zeroizing::new(["Bearer ", key].concat().into_bytes());
    // The header and its clones share these bytes; they are wiped when the last of them goes.
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Ends a call that the provider has not answered.
async fn unanswered(context: Context, error: UpstreamError, provider_ms: u32, reply: ReplyTo) {
    let UpstreamError { fault, attempts } = error;
    let provider = context
        .model
        .as_ref()
        .map(|model| model.provider.name().to_string());
    tracing::warn!(completion = %context.id, provider, fault = fault.code(), attempts, "the provider did not answer");
    let used = Used::after(&fault);
    let failed = Failed::before_content(fault.failure_code(), fault.status(), used, attempts, provider_ms);
    fail(context, failed, fault.to_api_error(), reply).await;
}

/// Ends a call with a whole answer: settled, then sent.
async fn whole(
    mut context: Context,
    body: Bytes,
    completion: &ChatCompletion,
    delivered: Delivered,
    reply: ReplyTo,
) {
    let first = completion
        .choices
        .first()
        .and_then(|choice| choice.finish_reason.as_deref());
    context.ending = Some(Ending::Answered(Answered {
        used: Used::reported_or_seen(completion.usage, completion.output_bytes()),
        digest: ContentDigest::of(&body),
        finish_reason: finish_reason(first),
        delivered,
    }));
    if let Err(error) = end(&mut context).await {
        return send(&context, reply, Err(error));
    }
    let facts = Facts {
        attempts: Some(delivered.attempts),
        ..Facts::of(&context)
    };
    kept::keep(
        &context,
        KeptAnswer {
            facts: facts.clone(),
            stream: false,
            body: body.clone(),
        },
    )
    .await;
    drop(reply.send(Replied {
        reply: Reply::Whole(body),
        facts,
    }));
}

/// Ends a call without an answer.
async fn fail(mut context: Context, failed: Failed, error: ApiError, reply: ReplyTo) {
    context.ending = Some(Ending::Failed(failed));
    let outcome = end(&mut context).await;
    send(&context, reply, outcome.and(Err(error)));
}

/// The ending phase; an error when the ending is not durable.
///
/// # Errors
/// 503 for the caller.
pub async fn end(context: &mut Context) -> Result<(), ApiError> {
    let outcome = run_phase(context, Phase::Ending).await;
    super::count::ended(context, outcome.is_ok());
    match outcome {
        Ok(()) => Ok(()),
        Err(Stopped::Unavailable { cause, .. }) => {
            tracing::error!(completion = %context.id, cause, "the ending of a call is not known to be recorded; the answer is withheld");
            Err(match context.outcome_unknown {
                true => outcome_unknown(),
                false => not_recorded(),
            })
        }
        Err(Stopped::Denied(denial)) => Err(denial.denied.error),
    }
}

fn send(context: &Context, reply: ReplyTo, outcome: Result<(), ApiError>) {
    if let Err(error) = outcome {
        // A caller who has left does not hear it.
        drop(reply.send(Replied::error(error, Facts::of(context))));
    }
}
