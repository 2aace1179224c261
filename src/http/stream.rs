//! Answers that go on: Server-Sent Events and WebSockets. This is the plumbing; what flows is another's.
//!
//! A stream that goes on by itself (`sse`, `Upgrade::answer`) ends when the server drains. One that ends by itself
//! (`sse_finite`: an answer that a model is writing, a subscription that says goodbye) is let finish until the drain
//! deadline.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::oneshot;
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;
use warp::http::HeaderValue;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use warp::reply::Reply;
pub use warp::ws::{Message, WebSocket};

use super::answer::Response;
use super::lifecycle::Lifecycle;

/// How often a quiet SSE stream sends a comment: below the 60 s after which proxies hang up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest message taken from a WebSocket client; clients only send control texts.
const MAX_WS_MESSAGE_BYTES: usize = 64 * 1024;
/// What a slow WebSocket client may leave unread in our buffers before its writes wait.
const MAX_WS_BUFFER_BYTES: usize = 1 << 20;

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// What the client hands back as `Last-Event-ID`.
    pub id: Option<String>,
    /// The event's name; `message` for the client if absent.
    pub event: Option<Cow<'static, str>>,
    /// Its text; line breaks become several `data:` lines.
    pub data: String,
}

impl SseEvent {
    /// An event without id and name.
    #[must_use]
    pub fn data(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    /// As it goes over the wire (WHATWG HTML §9.2).
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 64);
        // A line break or NUL would end the field, or make the client forget the id.
        let one_line = |field: &str| field.replace(['\r', '\n', '\0'], "");
        if let Some(id) = &self.id {
            let _ = writeln!(text, "id: {}", one_line(id));
        }
        if let Some(event) = &self.event {
            let _ = writeln!(text, "event: {}", one_line(event));
        }
        for line in self.data.split('\n') {
            let _ = writeln!(text, "data: {}", line.trim_end_matches('\r'));
        }
        text.push('\n');
        text.into()
    }
}

/// Goes on until the client leaves, the stream ends, or the server drains.
pub fn sse(lifecycle: &Lifecycle, events: impl Stream<Item = SseEvent> + Send + 'static) -> Response {
    let ended = lifecycle.draining().clone().cancelled_owned();
    event_stream(events.map(|event| event.encode()).take_until(ended))
}

/// A stream that ends by itself: not cut off when the server drains.
pub fn sse_finite(events: impl Stream<Item = SseEvent> + Send + 'static) -> Response {
    event_stream(events.map(|event| event.encode()))
}

fn event_stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = warp::reply::stream(
        SyncStream::new(KeepAlive::new(chunks.boxed())).map(Ok::<_, std::convert::Infallible>),
    )
    .into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx and its kin would otherwise hold events back.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

/// Puts a comment into a stream that has been quiet for a while.
struct KeepAlive {
    chunks: BoxStream<'static, Bytes>,
    quiet: Pin<Box<Interval>>,
}

impl KeepAlive {
    fn new(chunks: BoxStream<'static, Bytes>) -> Self {
        let mut quiet = Box::pin(tokio::time::interval(KEEP_ALIVE));
        quiet.reset();
        Self { chunks, quiet }
    }
}

impl Stream for KeepAlive {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(chunk) = self.chunks.poll_next_unpin(cx) {
            self.quiet.reset();
            return Poll::Ready(chunk);
        }
        self.quiet
            .poll_tick(cx)
            .map(|_| Some(Bytes::from_static(b": keep-alive\n\n")))
    }
}

/// warp's bodies must be `Sync`, streams rarely are. The lock is never contended: polling has `&mut`.
struct SyncStream<S>(Mutex<S>);

impl<S> SyncStream<S> {
    fn new(stream: S) -> Self {
        Self(Mutex::new(stream))
    }
}

impl<S: Stream + Unpin> Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        match self.0.get_mut() {
            Ok(stream) => stream.poll_next_unpin(cx),
            // Poisoning needs a panic while locked, and nothing locks it.
            Err(poisoned) => poisoned.into_inner().poll_next_unpin(cx),
        }
    }
}

/// A body of bytes that goes on, of any content type. A finite stream: not cut off by a drain.
pub fn bytes_stream(
    content_type: &'static str,
    chunks: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
) -> Response {
    let mut response = warp::reply::stream(SyncStream::new(chunks.boxed())).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The client's wish for a WebSocket.
#[derive(Debug)]
pub struct Upgrade(pub(super) warp::ws::Ws);

impl Upgrade {
    /// Accepts it. `serve` gets the socket and a token that is cancelled when the server drains, on which it
    /// should say goodbye and return; it is a task of the lifecycle.
    pub fn answer<F, Fut>(self, lifecycle: &Lifecycle, serve: F) -> Response
    where
        F: FnOnce(WebSocket, CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (hand_over, socket) = oneshot::channel();
        let draining = lifecycle.draining().clone();
        lifecycle.spawn("websocket", async move {
            // An error means that the client left before the upgrade was complete.
            if let Ok(socket) = socket.await {
                serve(socket, draining).await;
            }
        });
        let ws = self
            .0
            .max_message_size(MAX_WS_MESSAGE_BYTES)
            .max_write_buffer_size(MAX_WS_BUFFER_BYTES);
        // warp spawns this closure by itself; it only hands the socket to the task that is owned.
        ws.on_upgrade(|socket| async move {
            let _ = hand_over.send(socket);
        })
        .into_response()
    }
}
