//! A stream on its way to the caller: each event is read, mended where it breaks the wire's rules, and sent on.
//!
//! `[DONE]` is sent only once the settlement is durable; whatever goes wrong before is an in-band error and an end
//! without `[DONE]`, which official clients raise as an error. A caller who leaves, or reads slower than the call's
//! total time allows, ends the provider's stream; what was seen until then is settled, estimated and flagged.

use std::time::{Duration, Instant};

use bytes::Bytes;
use counterfoil_events::completion::{FailureCode, FinishReason};
use counterfoil_events::ids::ContentDigest;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};

use super::call;
use super::ending::{Answered, Delivered, Ending, Failed, Used, finish_reason};
use super::kept::{self, KeptAnswer};
use super::pipeline::Context;
use super::reply::Facts;
use super::told;
use super::upstream::{self, UpstreamFault};
use super::wire::relay::{RelayError, StreamRelay};
use super::wire::sse::DONE;
use crate::http::stream::SseEvent;
use crate::limits::answers::MAX_ANSWER_BYTES;

/// Longest that the last frame waits for a caller who reads slowly.
const LAST_FRAME_PATIENCE: Duration = Duration::from_secs(30);

/// What of the request matters for its stream.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Whether the caller wants usage.
    pub include_usage: bool,
    /// How many answers.
    pub choices: u32,
}

/// When and how the provider was called.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// When.
    pub called: Instant,
    /// How many requests it got.
    pub attempts: u16,
    /// What was asked.
    pub asked: Asked,
    /// How long the provider may take in all.
    pub total_timeout: Duration,
}

/// How the provider's stream ended.
enum End {
    Complete,
    CallerGone,
    /// This process has to stop.
    Stopping,
    Fault(UpstreamFault),
}

/// What the caller has been given.
struct Sent {
    frames: mpsc::Sender<SseEvent>,
    deadline: tokio::time::Instant,
    /// Of the bytes sent so far, as `ContentDigest::of` has it for whole ones.
    hasher: blake3::Hasher,
    bytes: u64,
    /// The same bytes, for a repeated Idempotency-Key, while they are few enough.
    copy: Option<Vec<u8>>,
}

/// Relays a stream to its end, and ends the call.
pub async fn run(
    mut context: Context,
    events: BoxStream<'static, Result<String, UpstreamFault>>,
    frames: mpsc::Sender<SseEvent>,
    begun: Begun,
) {
    let mut sent = Sent {
        frames,
        deadline: (begun.called + begun.total_timeout).into(),
        hasher: blake3::Hasher::new(),
        bytes: 0,
        copy: kept::answer_key(&context).map(|_| Vec::new()),
    };
    let mut relay = StreamRelay::new(begun.asked.include_usage);
    let end = {
        let relaying = relay_all(events, &mut relay, &mut sent, begun.asked.choices);
        let stopping = context.incoming.stopping.cancelled();
        tokio::select! {
            end = relaying => end,
            () = stopping => End::Stopping,
        }
    };
    let provider_ms = upstream::elapsed_ms(begun.called);
    let delivered = Delivered {
        bytes: sent.bytes,
        attempts: begun.attempts,
        provider_ms,
    };
    context.ending = Some(ending(&end, &relay, &sent, delivered));
    let recorded = call::end(&mut context).await;
    let error = match (end, recorded) {
        (End::CallerGone, _) => return,
        (End::Complete, Ok(())) => return finish(&context, sent).await,
        (End::Fault(fault), Ok(())) => fault.to_api_error(),
        (End::Stopping, Ok(())) => told::shutting_down(),
        (_, Err(error)) => error,
    };
    // Without [DONE] after it. A caller who has left does not hear it.
    send_last(&sent, SseEvent::data(error.to_json())).await;
}

async fn relay_all(
    mut events: BoxStream<'static, Result<String, UpstreamFault>>,
    relay: &mut StreamRelay,
    sent: &mut Sent,
    choices: u32,
) -> End {
    loop {
        let event = tokio::select! {
            biased;
            () = sent.frames.closed() => return End::CallerGone,
            event = events.next() => event,
        };
        let data = match event {
            None => return End::Complete,
            // Some servers hang up instead of saying [DONE]; all choices have ended, so nothing is missing.
            Some(Err(UpstreamFault::Cut)) if relay.summary().finished_choices >= choices => {
                return End::Complete;
            }
            Some(Err(fault)) => return End::Fault(fault),
            Some(Ok(data)) => data,
        };
        match relay.take(&data) {
            Ok(None) => {}
            Ok(Some(text)) => {
                if sent.send(&text).await.is_err() {
                    return End::CallerGone;
                }
                fail::fail_point!("gateway.mid_stream");
            }
            Err(RelayError::InBand) => return End::Fault(UpstreamFault::InBand),
            Err(RelayError::Malformed) => return End::Fault(UpstreamFault::Malformed),
        }
    }
}

/// The caller does not take any more.
struct Gone;

impl Sent {
    async fn send(&mut self, data: &str) -> Result<(), Gone> {
        let event = SseEvent::data(data);
        let frame = event.encode();
        let sending = timeout_at(self.deadline, self.frames.send(event));
        sending.await.map_err(|_| Gone)?.map_err(|_| Gone)?;
        self.hasher.update(&frame);
        self.bytes += frame.len() as u64;
        self.copy = self
            .copy
            .take()
            .filter(|copy| copy.len() + frame.len() <= MAX_ANSWER_BYTES);
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(&frame);
        }
        Ok(())
    }
}

fn ending(end: &End, relay: &StreamRelay, sent: &Sent, delivered: Delivered) -> Ending {
    let summary = relay.summary();
    let used = match end {
        End::Complete => Used::reported_or_seen(summary.usage, summary.output_bytes),
        // What was reported along the way was said of less than came after.
        End::CallerGone | End::Stopping | End::Fault(_) => {
            Used::of_a_part(summary.usage, summary.output_bytes)
        }
    };
    let failed = |code, provider_status| {
        Ending::Failed(Failed {
            code,
            provider_status,
            used,
            delivered,
        })
    };
    let finish_reason = match end {
        End::Fault(fault) => return failed(fault.failure_code(), fault.status()),
        End::Stopping => return failed(FailureCode::ShuttingDown, None),
        End::CallerGone => FinishReason::ClientGone,
        End::Complete => finish_reason(summary.finish_reason.as_deref()),
    };
    Ending::Answered(Answered {
        used,
        digest: ContentDigest(*sent.hasher.finalize().as_bytes()),
        finish_reason,
        delivered,
    })
}

/// The settlement is durable: the answer is complete.
async fn finish(context: &Context, mut sent: Sent) {
    let done = SseEvent::data(DONE);
    if let Some(mut body) = sent.copy.take() {
        body.extend_from_slice(&done.encode());
        let facts = Facts::of(context);
        kept::keep(
            context,
            KeptAnswer {
                facts,
                stream: true,
                body: Bytes::from(body),
            },
        )
        .await;
    }
    send_last(&sent, done).await;
}

/// Whoever does not take it has lost nothing: the ending is recorded.
async fn send_last(sent: &Sent, event: SseEvent) {
    drop(timeout(LAST_FRAME_PATIENCE, sent.frames.send(event)).await);
}
