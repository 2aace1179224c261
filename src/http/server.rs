//! The HTTP server: an accept loop of our own under warp's service.
//!
//! warp alone has no header, idle or write timeouts, no TCP_NODELAY, no cap on connections and no drain
//! deadline; here each has one. When the lifecycle drains: stop accepting → idle connections close, open
//! subscriptions end, requests in flight finish → shortly before the deadline the rest is told to hurry → at the
//! deadline what is left is aborted. Every connection is a task of the server's own set.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connection;
use super::dispatch::{self, Dispatcher};
use super::lifecycle::Lifecycle;
use super::metrics;
use super::patience::Patience;

/// How long to wait when no descriptor is left for an accept; connections that end will free some.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How long a connection is quiet before its peer is probed, and how often then.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often histograms are folded, so that they do not grow when nobody scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Before the drain deadline: enough for work that is told to hurry to record how it ended.
const LAST_MOMENTS: Duration = Duration::from_secs(3);

/// Limits of the server. Each has its default in the configuration (`http.*`).
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections at one time; above it, new ones wait in the listener's backlog.
    pub max_connections: usize,
    /// For the head of a request, from its first byte (from the connection's start for the first).
    pub head_timeout: Duration,
    /// Between requests of a connection.
    pub idle_timeout: Duration,
    /// For an answer that the client does not read.
    pub stalled_timeout: Duration,
    /// From the start of draining until what is left is aborted.
    pub drain_deadline: Duration,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another with http.address")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A server that is bound and does not accept yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: ServerLimits,
    dispatcher: Arc<Dispatcher>,
    lifecycle: Lifecycle,
}

impl Server {
    /// Binds the address; port 0 picks one.
    ///
    /// # Errors
    /// An address that is taken or not of this machine.
    pub async fn bind(
        address: SocketAddr,
        limits: ServerLimits,
        dispatcher: Dispatcher,
        lifecycle: Lifecycle,
    ) -> Result<Self, BindError> {
        let refused = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self {
            listener,
            address,
            limits,
            dispatcher: Arc::new(dispatcher),
            lifecycle,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the lifecycle drains, then drains. True if everything ended by itself before the deadline.
    pub async fn run(self) -> bool {
        let mut connections = JoinSet::new();
        self.accept_until_drained(&mut connections).await;
        let Self {
            listener,
            limits,
            lifecycle,
            ..
        } = self;
        drop(listener);
        drain(connections, &lifecycle, limits.drain_deadline).await
    }

    async fn accept_until_drained(&self, connections: &mut JoinSet<()>) {
        let permits = Arc::new(Semaphore::new(self.limits.max_connections));
        let mut upkeep = tokio::time::interval(METRICS_UPKEEP);
        loop {
            tokio::select! {
                biased;
                () = self.lifecycle.draining().cancelled() => return,
                Some(_) = connections.join_next() => {}
                _ = upkeep.tick() => metrics::upkeep(),
                (stream, peer, permit) = accept(&self.listener, &permits) => {
                    self.start(connections, stream, peer, permit);
                }
            }
        }
    }

    fn start(
        &self,
        connections: &mut JoinSet<()>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        if let Err(error) = tune(&stream, self.limits.stalled_timeout) {
            tracing::debug!(%peer, %error, "connection closed before it was served");
            return;
        }
        let patience = Patience {
            idle: self.limits.idle_timeout,
            head: self.limits.head_timeout,
            stalled: self.limits.stalled_timeout,
        };
        let service = TowerToHyperService::new(warp::service(dispatch::filter(Arc::clone(&self.dispatcher))));
        let draining = self.lifecycle.draining().clone();
        connections.spawn(connection::serve(
            stream, peer, permit, patience, draining, service,
        ));
    }
}

/// What a socket needs that the system does not do by itself.
fn tune(stream: &TcpStream, stalled_timeout: Duration) -> io::Result<()> {
    // Answers are small and written whole; waiting for more to send only adds latency.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // A peer that vanished without a word: found out by probes when we are quiet, by the unread data when we are not.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_INTERVAL),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(stalled_timeout))?;
    #[cfg(not(target_os = "linux"))]
    let _ = stalled_timeout;
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            // The semaphore is never closed.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn drain(mut connections: JoinSet<()>, lifecycle: &Lifecycle, deadline: Duration) -> bool {
    let end = Instant::now() + deadline;
    // A short deadline is halved, so that there is time to finish and time to hurry.
    let hurry = end - LAST_MOMENTS.min(deadline / 2);
    let all_ended = async {
        while connections.join_next().await.is_some() {}
        lifecycle.ended().await;
    };
    let ended = {
        let mut all_ended = std::pin::pin!(all_ended);
        match timeout_at(hurry, &mut all_ended).await {
            Ok(()) => true,
            Err(_) => {
                lifecycle.hurry();
                timeout_at(end, &mut all_ended).await.is_ok()
            }
        }
    };
    if !ended {
        tracing::warn!(
            connections = connections.len(),
            "drain deadline reached; what is left is aborted"
        );
        connections.shutdown().await;
        lifecycle.abort().await;
    }
    ended
}
