//! A provider's event stream: bytes in, the data of events out, within limits of time and size.
//!
//! It ends after `[DONE]`. A connection that ends before is *cut*; one that stands still longer than the idle
//! timeout, or goes on beyond the call's deadline, is given up. Dropping it closes the connection.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::error::UpstreamFault;
use crate::gateway::wire::sse::{DONE, SseEvent, SseReader};

/// The limits of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimits {
    /// Longest silence.
    pub idle: Duration,
    /// From the first request to the end of the answer.
    pub total: Duration,
    /// Largest answer.
    pub bytes: usize,
}

/// Events of one answer, read on demand.
pub struct EventSource {
    chunks: BoxStream<'static, Result<Bytes, UpstreamFault>>,
    reader: SseReader,
    ready: VecDeque<SseEvent>,
    limits: AnswerLimits,
    deadline: Instant,
    bytes: usize,
    ended: bool,
}

impl EventSource {
    /// Over a body's chunks; `deadline` is when the call's total time ends.
    #[must_use]
    pub fn new(
        chunks: BoxStream<'static, Result<Bytes, UpstreamFault>>,
        limits: AnswerLimits,
        deadline: Instant,
    ) -> Self {
        Self {
            chunks,
            reader: SseReader::default(),
            ready: VecDeque::new(),
            limits,
            deadline,
            bytes: 0,
            ended: false,
        }
    }

    /// The data of the next event; `None` once `[DONE]` has come.
    ///
    /// # Errors
    /// See [`UpstreamFault`]. Nothing comes after one.
    pub async fn next(&mut self) -> Option<Result<String, UpstreamFault>> {
        while !self.ended {
            if let Some(event) = self.ready.pop_front() {
                if event.data == DONE {
                    self.ended = true;
                    return None;
                }
                return Some(Ok(event.data));
            }
            if let Err(fault) = self.read().await {
                self.ended = true;
                return Some(Err(fault));
            }
        }
        None
    }

    async fn read(&mut self) -> Result<(), UpstreamFault> {
        let chunk = within(self.chunks.next(), self.limits, self.deadline).await?;
        let chunk = chunk.ok_or(UpstreamFault::Cut)??;
        self.bytes += chunk.len();
        if self.bytes > self.limits.bytes {
            return Err(UpstreamFault::TooLarge {
                limit_bytes: self.limits.bytes,
            });
        }
        let mut events = Vec::new();
        self.reader
            .feed(&chunk, &mut events)
            .map_err(|_| UpstreamFault::Malformed)?;
        self.ready.extend(events);
        Ok(())
    }

    /// The rest as a stream, after the events that were read ahead.
    #[must_use]
    pub fn into_stream(self, ahead: Vec<String>) -> BoxStream<'static, Result<String, UpstreamFault>> {
        let rest = stream::unfold(self, |mut source| async move {
            let item = source.next().await?;
            Some((item, source))
        });
        stream::iter(ahead).map(Ok).chain(rest).fuse().boxed()
    }
}

/// Waits for a part of an answer no longer than the idle timeout, nor beyond the deadline.
pub async fn within<T>(
    part: impl Future<Output = T>,
    limits: AnswerLimits,
    deadline: Instant,
) -> Result<T, UpstreamFault> {
    let idle_until = Instant::now() + limits.idle;
    let fault = if deadline <= idle_until {
        UpstreamFault::Total {
            timeout_ms: millis(limits.total),
        }
    } else {
        UpstreamFault::Idle {
            timeout_ms: millis(limits.idle),
        }
    };
    timeout_at(deadline.min(idle_until), part)
        .await
        .map_err(|_| fault)
}

/// Whole milliseconds, for messages.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
