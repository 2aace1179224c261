//! Reading bodies within limits: bytes per body (the route's), time per body, and memory for all bodies together.
//!
//! Without the last, a few thousand connections with a body each would fill the machine. Memory is taken for bytes that
//! have come, never for a length that is only announced: who sends nothing keeps nobody else out. A request that finds
//! no memory waits a moment and is then told to come back.

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
pub(super) struct HeldMemory(Option<OwnedSemaphorePermit>);

impl HeldMemory {
    fn pieces(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
    }
}

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
        if !is_coming(headers, limit)? {
            return Ok(Default::default());
        }
        let reading = self.collect(body, limit);
        let timely = tokio::time::timeout(self.timeout, reading).await;
        timely.unwrap_or_else(|_| Err(too_slow(self.timeout)))
    }

    async fn collect<S, C>(&self, body: S, limit: usize) -> Result<(Bytes, HeldMemory), ApiError>
    where
        S: Stream<Item = Result<C, warp::Error>> + Send,
        C: Buf,
    {
        let (mut bytes, mut held) = (BytesMut::new(), HeldMemory::default());
        let mut body = std::pin::pin!(body);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                problem::MALFORMED_REQUEST
                    .detail("the body ended before it was complete")
                    .because(error)
            })?;
            let length = bytes.len() + chunk.remaining();
            if length > limit {
                return Err(too_large(limit));
            }
            self.hold(&mut held, length).await?;
            bytes::BufMut::put(&mut bytes, chunk);
        }
        Ok((bytes.freeze(), held))
    }

    /// Takes what is missing for so many bytes.
    async fn hold(&self, held: &mut HeldMemory, bytes: usize) -> Result<(), ApiError> {
        // A body larger than all the memory has it alone.
        let pieces = bytes.div_ceil(PIECE_BYTES).min(self.pieces);
        let missing = pieces.saturating_sub(held.pieces());
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let waiting = Arc::clone(&self.memory).acquire_many_owned(missing);
        match tokio::time::timeout(MEMORY_WAIT, waiting).await {
            Ok(Ok(more)) => {
                held.add(more);
                Ok(())
            }
            _ => Err(problem::UNAVAILABLE
                .detail("too many large bodies at one time; nothing was done")
                .header(CONNECTION, HeaderValue::from_static("close"))),
        }
    }
}

/// Whether the headers announce a body; an error where they announce more than the limit.
fn is_coming(headers: &HeaderMap, limit: usize) -> Result<bool, ApiError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match announced {
        Some(length) if length > limit => Err(too_large(limit)),
        Some(length) => Ok(length > 0),
        None => Ok(headers.contains_key(TRANSFER_ENCODING)),
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

fn too_large(limit: usize) -> ApiError {
    if limit == 0 {
        return problem::INVALID_BODY.detail("this route takes no body; send none");
    }
    problem::BODY_TOO_LARGE.detail(format!("the body is above this route's limit of {limit} bytes"))
}

fn too_slow(timeout: Duration) -> ApiError {
    let detail = format!("the body did not arrive within {} ms", timeout.as_millis());
    // What is left of the body would be read as the next request.
    problem::REQUEST_TIMEOUT
        .detail(detail)
        .header(CONNECTION, HeaderValue::from_static("close"))
}
