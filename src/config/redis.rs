//! `[redis]`: request counters and kept answers. Without it both live in this process's memory.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::check::Checks;

/// Counters and kept answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://:password@host:port/` or `rediss://…`; none means memory alone, and `/ready` says so.
    pub url: Option<SecretString>,
    /// Certificates that a `rediss://` server's is checked against; the system's if absent.
    pub tls_ca_file: Option<PathBuf>,
    /// Begins every key, so that several installations can share a server.
    pub prefix: String,
    /// Longest that a request waits for Redis before memory answers instead.
    pub timeout_ms: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        // A round trip on a local network takes well under 1 ms; 20 ms is a server in trouble.
        Self {
            url: None,
            tls_ca_file: None,
            prefix: "counterfoil".to_owned(),
            timeout_ms: 20,
        }
    }
}

impl RedisConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let known = |url: &SecretString| {
            let url = url.expose_secret();
            url.starts_with("redis://") || url.starts_with("rediss://")
        };
        let sound = self.url.as_ref().is_none_or(known);
        checks.require("redis.url", sound, "must be `redis://…` or `rediss://…`");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let named = (1..=32).contains(&self.prefix.len()) && self.prefix.bytes().all(plain);
        checks.require(
            "redis.prefix",
            named,
            "must be 1 to 32 lower-case letters, digits or `_`",
        );
        checks.within("redis.timeout_ms", self.timeout_ms, 1..=1000);
    }

    /// Longest that a request waits for Redis.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
