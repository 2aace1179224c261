//! The connection to Redis: used when it answers in time, left alone when it does not.
//!
//! A request asks once, within a few milliseconds. On an error, or when several in a row are not answered in time (one
//! alone is a hiccup: Redis forks to save), the connection counts as lost: further requests use memory at once instead
//! of each waiting in turn. A keeper, a task of the lifecycle, opens a new
//! one and tries it with a real write before anyone uses it; while all is well it tries again now and then, so
//! that an idle process knows the truth. Answers are the only large values: they are offered only while half of the
//! server's memory is free, and one that a full server refuses is not kept, so that they never crowd out the counters.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, TlsCertificates};
use secrecy::ExposeSecret;
use tokio::sync::Notify;

use crate::config::RedisConfig;
use crate::http::metrics::FALLBACK;
use crate::http::{Component, Lifecycle};

/// How many requests in a row may go unanswered before the connection counts as lost.
const UNANSWERED_MAX: u32 = 3;
/// How long opening a connection may take. Nobody waits for it but the keeper.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two attempts: soon enough to be back at once, rare enough to cost nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often a connection that works is tried.
const PROBE_PAUSE: Duration = Duration::from_secs(5);

/// A shared connection to Redis, or the knowledge that there is none. Cheap to clone.
#[derive(Clone)]
pub struct RedisLink(Arc<Inner>);

struct Inner {
    prefix: String,
    timeout: Duration,
    current: RwLock<Current>,
    lost: Notify,
    unanswered: AtomicU32,
    /// Whether large values may be kept.
    roomy: AtomicBool,
}

/// Each connection has a number, so that a late failure of an old one does not take the new one away.
#[derive(Default)]
struct Current {
    number: u64,
    connection: Option<MultiplexedConnection>,
    /// Why there is none, once there was one.
    why_lost: String,
}

/// Redis is not usable as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RedisLinkError {
    /// The address cannot be read.
    #[error("redis.url cannot be read: {0}")]
    Url(RedisError),
    /// The certificate file cannot be read.
    #[error("redis.tls_ca_file cannot be read: {0}")]
    Certificate(std::io::Error),
}

impl RedisLink {
    /// A link that is kept by a task of the lifecycle; it returns at once. `component` says how it is.
    ///
    /// # Errors
    /// An address or certificate that cannot be read. A server that does not answer is no error.
    pub fn keep(
        config: &RedisConfig,
        lifecycle: &Lifecycle,
        component: Component,
    ) -> Result<Self, RedisLinkError> {
        let link = Self(Arc::new(Inner {
            prefix: config.prefix.clone(),
            timeout: config.timeout(),
            current: RwLock::default(),
            lost: Notify::new(),
            unanswered: AtomicU32::new(0),
            roomy: AtomicBool::new(true),
        }));
        let Some(client) = client(config)? else {
            component.degraded("redis.url is not configured: limits and kept answers are this process's own");
            return Ok(link);
        };
        let keeper = Keeper {
            client,
            link: link.clone(),
            component,
        };
        let draining = lifecycle.draining().clone();
        lifecycle.spawn("redis keeper", async move {
            draining.run_until_cancelled(keeper.run()).await;
        });
        Ok(link)
    }

    /// Asks Redis once. `None`: it has not answered in time, or not at all; memory has to do.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        ask: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Option<T> {
        if let Some((number, mut connection)) = self.connection() {
            let outcome = tokio::time::timeout(self.0.timeout, ask(&mut connection)).await;
            match outcome {
                Ok(Ok(answer)) => {
                    self.0.unanswered.store(0, Ordering::Relaxed);
                    return Some(answer);
                }
                Ok(Err(error)) => self.lose(number, &error),
                Err(_) if self.0.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED_MAX => {
                    self.lose(number, &"no answer in time");
                }
                Err(_) => {}
            }
        }
        metrics::counter!(FALLBACK, "what" => what).increment(1);
        None
    }

    /// Whether large values may be kept there.
    pub(super) fn has_room(&self) -> bool {
        self.0.roomy.load(Ordering::Relaxed)
    }

    /// A key of ours.
    pub(super) fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.0.prefix)
    }

    fn connection(&self) -> Option<(u64, MultiplexedConnection)> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        Some((current.number, current.connection.clone()?))
    }

    fn lose(&self, number: u64, why: &dyn std::fmt::Display) {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number == number && current.connection.take().is_some() {
            current.why_lost = why.to_string();
            tracing::warn!(%why, "Redis is lost; limits and kept answers are this process's own until it is back");
            self.0.lost.notify_one();
        }
    }

    fn why_lost(&self) -> String {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        current.why_lost.clone()
    }

    fn gain(&self, connection: MultiplexedConnection) -> u64 {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        current.number += 1;
        self.0.unanswered.store(0, Ordering::Relaxed);
        current.connection = Some(connection);
        current.number
    }
}

fn client(config: &RedisConfig) -> Result<Option<Client>, RedisLinkError> {
    let Some(url) = &config.url else { return Ok(None) };
    let Some(path) = &config.tls_ca_file else {
        return Client::open(url.expose_secret())
            .map(Some)
            .map_err(RedisLinkError::Url);
    };
    let root_cert = Some(std::fs::read(path).map_err(RedisLinkError::Certificate)?);
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert,
    };
    Client::build_with_tls(url.expose_secret(), certificates)
        .map(Some)
        .map_err(RedisLinkError::Url)
}

struct Keeper {
    client: Client,
    link: RedisLink,
    component: Component,
}

impl Keeper {
    async fn run(self) {
        loop {
            let why = match self.open().await {
                Ok(connection) => {
                    self.watch(connection).await;
                    self.link.why_lost()
                }
                Err(error) => error.to_string(),
            };
            self.component.degraded(format!(
                "Redis is not usable ({why}): limits and kept answers are this process's own"
            ));
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn open(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(OPEN_TIMEOUT))
            .set_response_timeout(Some(OPEN_TIMEOUT));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        self.probe(&mut connection).await?;
        Ok(connection)
    }

    /// Lets the connection be used until it fails, for a request or here.
    async fn watch(&self, mut connection: MultiplexedConnection) {
        let number = self.link.gain(connection.clone());
        loop {
            if let Err(error) = self.look(&mut connection).await {
                return self.link.lose(number, &error);
            }
            tokio::select! {
                () = self.link.0.lost.notified() => return,
                () = tokio::time::sleep(PROBE_PAUSE) => {}
            }
            if let Err(error) = self.probe(&mut connection).await {
                return self.link.lose(number, &error);
            }
        }
    }

    /// Reports how the server's memory is.
    async fn look(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let memory = memory(connection).await?;
        self.link.0.roomy.store(memory.has_room(), Ordering::Relaxed);
        match memory.evicts() {
            Some(policy) => self.component.degraded(format!(
                "Redis evicts keys (maxmemory-policy {policy}): counters may be forgotten; set noeviction"
            )),
            None if !memory.has_room() => self.component.degraded(format!(
                "Redis is more than half full ({} of {} bytes): answers are not kept",
                memory.used_bytes, memory.max_bytes
            )),
            None => self.component.ok(),
        }
        Ok(())
    }

    /// A write: a full or read-only server answers PING, and would fail every request.
    async fn probe(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let key = self.link.key("probe", "write");
        redis::cmd("SET")
            .arg(key)
            .arg(1)
            .arg("PX")
            .arg(1000)
            .exec_async(connection)
            .await
    }
}

/// Whether the server has no memory left (its word for that is `OOM`).
pub(super) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM")
}

/// The server's memory.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    used_bytes: u64,
    /// 0: no limit of its own.
    max_bytes: u64,
    policy: String,
}

impl Memory {
    fn read(info: &str) -> Self {
        let field = |name: &str| {
            let mut lines = info.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.unwrap_or_default().trim().to_owned()
        };
        let bytes = |name| field(name).parse().unwrap_or(0);
        Self {
            used_bytes: bytes("used_memory"),
            max_bytes: bytes("maxmemory"),
            policy: field("maxmemory_policy"),
        }
    }

    fn has_room(&self) -> bool {
        self.max_bytes == 0 || self.used_bytes <= self.max_bytes / 2
    }

    /// The policy by which the server may forget keys of ours, if it may.
    fn evicts(&self) -> Option<&str> {
        let may = self.max_bytes > 0 && !self.policy.is_empty() && self.policy != "noeviction";
        may.then_some(&self.policy)
    }
}

/// Asked by INFO: managed servers often refuse CONFIG.
async fn memory(connection: &mut MultiplexedConnection) -> RedisResult<Memory> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(connection).await?;
    Ok(Memory::read(&info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_a_limit_has_room_up_to_half_of_it() {
        let memory = |used: u64, max: u64| {
            let info = format!(
                "# Memory\r\nused_memory:{used}\r\nused_memory_rss:9\r\nmaxmemory:{max}\r\nmaxmemory_policy:noeviction\r\n"
            );
            Memory::read(&info)
        };
        assert!(memory(50, 100).has_room() && !memory(51, 100).has_room());
        assert!(memory(51, 0).has_room(), "no limit of its own");
        assert_eq!(memory(1, 100).evicts(), None);
    }

    #[test]
    fn a_limit_with_a_policy_that_evicts_is_named() {
        let read = |max: u64| Memory::read(&format!("maxmemory:{max}\r\nmaxmemory_policy:allkeys-lru\r\n"));
        assert_eq!(read(100).evicts(), Some("allkeys-lru"));
        assert_eq!(read(0).evicts(), None);
    }
}
