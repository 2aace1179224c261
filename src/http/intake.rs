//! Reading bodies within limits: bytes per body (the route's), time per body, and memory for all bodies together.
//!
//! Without the last, a few thousand connections with a body each would fill the machine. A request that finds no
//! memory waits a moment and is then told to come back.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use warp::http::{HeaderMap, HeaderValue};

use super::problem::{self, ApiError};

/// Memory is handed out in pieces of this size, so that their number fits a semaphore.
const PIECE_BYTES: usize = 1024;
/// How long a request waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// How much of a body that nobody wants is read, and for how long, so that its sender gets to see the answer.
const DISCARD_BYTES: usize = 4 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// How much, and how slowly, clients may send.
#[derive(Debug, Clone, Copy)]
pub struct IntakeLimits {
    /// For a whole body.
    pub body_timeout: Duration,
    /// For all bodies that are being read or worked on.
    pub body_memory_bytes: usize,
}

pub(super) struct Intake {
    timeout: Duration,
    memory: Arc<Semaphore>,
    pieces: usize,
}

/// Memory that a body takes, given back when its request is dropped.
#[derive(Debug, Default)]
pub(super) struct HeldMemory(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Intake {
    pub fn new(limits: IntakeLimits) -> Self {
        let pieces = (limits.body_memory_bytes / PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            timeout: limits.body_timeout,
            memory: Arc::new(Semaphore::new(pieces)),
            pieces,
        }
    }

    /// The whole body, of at most `limit` bytes.
    pub async fn read<S, C>(
        &self,
        headers: &HeaderMap,
        body: S,
        limit: usize,
    ) -> Result<(Bytes, HeldMemory), ApiError>
    where
        S: Stream<Item = Result<C, warp::Error>> + Send,
        C: Buf,
    {
        let expected = expected_bytes(headers, limit)?;
        if expected == 0 {
            return Ok(Default::default());
        }
        let held = self.hold(expected).await?;
        let reading = collect(body, expected, limit);
        let timely = tokio::time::timeout(self.timeout, reading).await;
        let bytes = timely.unwrap_or_else(|_| Err(too_slow(self.timeout)))?;
        Ok((bytes, HeldMemory(Some(held))))
    }

    async fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        // A body larger than all the memory has it alone.
        let pieces = bytes.div_ceil(PIECE_BYTES).min(self.pieces);
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        let waiting = Arc::clone(&self.memory).acquire_many_owned(pieces);
        match tokio::time::timeout(MEMORY_WAIT, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(problem::UNAVAILABLE
                .detail("too many large bodies at one time; nothing was done")
                .header(CONNECTION, HeaderValue::from_static("close"))),
        }
    }
}

/// What the headers announce; the limit where they only say that something comes.
fn expected_bytes(headers: &HeaderMap, limit: usize) -> Result<usize, ApiError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match announced {
        Some(length) if length > limit => Err(too_large(limit)),
        Some(length) => Ok(length),
        None if headers.contains_key(TRANSFER_ENCODING) => Ok(limit),
        None => Ok(0),
    }
}

/// Whether a client sends a body without waiting to be asked for it.
pub(super) fn is_sending(headers: &HeaderMap) -> bool {
    let announced = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    announced && !headers.contains_key(EXPECT)
}

/// Lets the rest of a refused body come and go, within bounds: a connection that is closed on bytes that nobody has
/// read is reset, and the answer is lost with it.
pub(super) async fn discard<S, C>(mut body: S)
where
    S: Stream<Item = Result<C, warp::Error>> + Send + Unpin,
    C: Buf,
{
    let rest = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(chunk)) = body.next().await {
            match left.checked_sub(chunk.remaining()) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Enough was done for one who sends so slowly.
    let _ = tokio::time::timeout(DISCARD_TIME, rest).await;
}

async fn collect<S, C>(body: S, expected: usize, limit: usize) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<C, warp::Error>> + Send,
    C: Buf,
{
    // A chunked body is mostly far smaller than the limit that is held for it.
    let mut bytes = BytesMut::with_capacity(expected.min(64 * 1024));
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            problem::MALFORMED_REQUEST
                .detail("the body ended before it was complete")
                .because(error)
        })?;
        if bytes.len() + chunk.remaining() > limit {
            return Err(too_large(limit));
        }
        bytes::BufMut::put(&mut bytes, chunk);
    }
    Ok(bytes.freeze())
}

fn too_large(limit: usize) -> ApiError {
    problem::BODY_TOO_LARGE.detail(format!("the body is above this route's limit of {limit} bytes"))
}

fn too_slow(timeout: Duration) -> ApiError {
    let detail = format!("the body did not arrive within {} ms", timeout.as_millis());
    // What is left of the body would be read as the next request.
    problem::REQUEST_TIMEOUT
        .detail(detail)
        .header(CONNECTION, HeaderValue::from_static("close"))
}
