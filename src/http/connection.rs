//! One connection: hyper's HTTP/1 over a socket that is watched, in one task.
//!
//! The watch sees every read, write and request (`patience`), and ends a connection that is held for nothing.
//! Draining lets the request in flight finish, and closes.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::answer::Response;
use super::dispatch::Peer;
use super::metrics::{ConnectionGauge, count_lost_connection};
use super::patience::{Activity, Busy, Loss, Patience, Watch};

/// Largest request head (request line and headers); a larger one is a 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;

enum End {
    Closed(hyper::Result<()>),
    Lost(Loss),
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
    S: Service<hyper::Request<Incoming>, Response = Response, Error = Infallible>,
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
        match connection.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(End::Closed(result)),
            Poll::Pending => watch.poll_lost(cx).map(End::Lost),
        }
    });
    match end.await {
        End::Closed(Ok(())) => {}
        End::Closed(Err(error)) => tracing::debug!(%peer, %error, "connection broken"),
        End::Lost(loss) => {
            count_lost_connection(loss.as_str());
            tracing::debug!(%peer, reason = loss.as_str(), "connection given up");
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
