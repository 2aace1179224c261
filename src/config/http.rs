//! `[http]`: where the server listens and how patient it is.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::check::Checks;
use crate::http::client_address::ProxyNetwork;
use crate::http::{IntakeLimits, ServerLimits};

/// The HTTP server.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where it listens; port 0 picks one. Without the `api` role only `/live`, `/ready` and `/metrics` are there.
    pub address: SocketAddr,
    /// Connections at one time; more wait in the listener's backlog.
    pub max_connections: usize,
    /// For the head of a request.
    pub head_timeout_ms: u64,
    /// For the whole body of a request.
    pub body_timeout_ms: u64,
    /// For all bodies together that are being read or worked on.
    pub body_memory_bytes_max: usize,
    /// Between requests of one connection.
    pub idle_timeout_ms: u64,
    /// For a client that does not read its answer.
    pub stalled_timeout_ms: u64,
    /// Networks of the proxies in front, such as `10.0.0.0/8`: of their requests alone `X-Forwarded-For` says who sent them.
    pub trusted_proxies: Vec<ProxyNetwork>,
    /// How long browsers shall ask for TLS alone; 0 does not say. Only where TLS ends in front of this server.
    pub hsts_max_age_s: u64,
    /// From the start of draining until what is left is aborted.
    pub drain_deadline_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: 4096,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            body_memory_bytes_max: 128 << 20,
            // Above the 60 s of common load balancers, so that they close first and no request meets a close.
            idle_timeout_ms: 75_000,
            stalled_timeout_ms: 30_000,
            trusted_proxies: Vec::new(),
            hsts_max_age_s: 0,
            // Below the 30 s that Kubernetes and systemd wait before they kill.
            drain_deadline_ms: 20_000,
        }
    }
}

impl HttpConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("http.max_connections", self.max_connections, 1..=100_000);
        checks.within("http.head_timeout_ms", self.head_timeout_ms, 10..=120_000);
        checks.within("http.body_timeout_ms", self.body_timeout_ms, 10..=600_000);
        checks.within(
            "http.body_memory_bytes_max",
            self.body_memory_bytes_max,
            1 << 20..=1 << 36,
        );
        checks.within("http.idle_timeout_ms", self.idle_timeout_ms, 10..=3_600_000);
        checks.within("http.stalled_timeout_ms", self.stalled_timeout_ms, 10..=600_000);
        // Each is compared with each address of each request's list.
        checks.within("http.trusted_proxies", self.trusted_proxies.len(), 0..=64);
        checks.require(
            "http.trusted_proxies",
            !self.trusted_proxies.iter().any(ProxyNetwork::is_everywhere),
            "must not be the whole internet: whoever asks could say who they are",
        );
        checks.within("http.hsts_max_age_s", self.hsts_max_age_s, 0..=63_072_000);
        checks.within("http.drain_deadline_ms", self.drain_deadline_ms, 10..=600_000);
    }

    /// The server's limits.
    #[must_use]
    pub fn server_limits(&self) -> ServerLimits {
        ServerLimits {
            max_connections: self.max_connections,
            head_timeout: Duration::from_millis(self.head_timeout_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            stalled_timeout: Duration::from_millis(self.stalled_timeout_ms),
            drain_deadline: Duration::from_millis(self.drain_deadline_ms),
        }
    }

    /// The limits of bodies.
    #[must_use]
    pub fn intake_limits(&self) -> IntakeLimits {
        IntakeLimits {
            body_timeout: Duration::from_millis(self.body_timeout_ms),
            body_memory_bytes: self.body_memory_bytes_max,
        }
    }
}
