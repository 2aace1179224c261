//! One connection: hyper's HTTP/1 over a socket that is watched.
//!
//! hyper knows one timeout, for reading a head, and counts waiting for the next request into it. Here the
//! three ways of holding a connection for nothing have a limit each: *idle* between requests, *head*
//! (slow loris: a request that is begun and not finished), *stalled* (an answer that the client does not
//! read). The watch is a small state machine that sees every read and write; it runs in the connection's
//! own task.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::answer::Response;
use super::dispatch::Peer;
use super::metrics::ConnectionGauge;

/// Largest request head (request line and headers); a larger one is a 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// For how long a connection may be held for nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub idle: Duration,
    pub head: Duration,
    pub stalled: Duration,
}

/// Serves one connection until it closes, is upgraded, loses patience, or is idle while draining.
pub(super) async fn serve<S>(
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    patience: Patience,
    draining: CancellationToken,
    service: S,
) where
    S: Service<hyper::Request<Incoming>, Response = Response, Error = std::convert::Infallible>,
{
    let activity = Activity::new(patience);
    let watched = Watched {
        stream,
        activity: activity.clone(),
        _permit: permit,
        _counted: ConnectionGauge::new(),
    };
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let busy = activity.begin_request();
        let answer = service.call(request);
        async move {
            answer
                .await
                .map(|response| response.map(|body| Counted { body, _busy: busy }))
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES)
        .half_close(false);
    let connection = builder
        .serve_connection(TokioIo::new(watched), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut drained = pin!(draining.cancelled());
    let mut told = false;
    let mut watch = Watch::new(activity.clone());
    let end = poll_fn(|cx| {
        if !told && drained.as_mut().poll(cx).is_ready() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|error| error.to_string()));
        }
        watch.poll_lost(cx).map(|reason| Err(reason.to_owned()))
    });
    if let Err(reason) = end.await {
        tracing::debug!(%peer, reason, "connection closed");
    }
}

/// What a connection is doing, as seen from its reads, writes and requests.
#[derive(Clone)]
struct Activity(Arc<Mutex<State>>);

struct State {
    patience: Patience,
    phase: Phase,
    stalled_since: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Between requests.
    Idle { since: Instant },
    /// A head is on its way.
    Head { since: Instant },
    /// A request is being answered.
    Busy,
}

impl Activity {
    fn new(patience: Patience) -> Self {
        // A fresh connection is expected to begin at once.
        let phase = Phase::Head {
            since: Instant::now(),
        };
        Self(Arc::new(Mutex::new(State {
            patience,
            phase,
            stalled_since: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it, and the state is plain values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_read(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Idle { .. }) {
            state.phase = Phase::Head {
                since: Instant::now(),
            };
        }
    }

    fn has_written(&self, progress: bool) {
        let mut state = self.state();
        if progress {
            state.stalled_since = None;
        } else if state.stalled_since.is_none() {
            state.stalled_since = Some(Instant::now());
        }
    }

    fn begin_request(&self) -> Busy {
        self.state().phase = Phase::Busy;
        Busy(self.clone())
    }

    fn deadline(&self) -> Option<(Instant, &'static str)> {
        let state = self.state();
        if let Some(since) = state.stalled_since {
            return Some((
                since + state.patience.stalled,
                "the client does not read its answer",
            ));
        }
        match state.phase {
            Phase::Idle { since } => Some((since + state.patience.idle, "idle")),
            Phase::Head { since } => Some((since + state.patience.head, "the request's head is too slow")),
            Phase::Busy => None,
        }
    }
}

/// A request in flight, until its answer's body is written or dropped.
struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.state().phase = Phase::Idle {
            since: Instant::now(),
        };
    }
}

/// Says when patience is lost. Its timer is only moved when it must fire earlier, or has fired too early.
struct Watch {
    activity: Activity,
    timer: Pin<Box<Sleep>>,
}

impl Watch {
    fn new(activity: Activity) -> Self {
        let first = activity
            .deadline()
            .map_or_else(Instant::now, |(deadline, _)| deadline);
        Self {
            activity,
            timer: Box::pin(tokio::time::sleep_until(first)),
        }
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        loop {
            let Some((deadline, reason)) = self.activity.deadline() else {
                return Poll::Pending;
            };
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(reason);
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

/// A socket that reports what happens on it. It holds the connection's permit, also after an upgrade.
struct Watched {
    stream: TcpStream,
    activity: Activity,
    _permit: OwnedSemaphorePermit,
    _counted: ConnectionGauge,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.has_read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.has_written(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.has_written(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An answer's body that keeps its request in flight until it is through.
struct Counted<B> {
    body: B,
    _busy: Busy,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
