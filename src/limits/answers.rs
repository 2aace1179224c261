//! Answers kept for a repeated Idempotency-Key, for at most 24 hours: a shortcut, never the fence (that is the
//! append). An answer that is not here any more only means that the client is told so.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use counterfoil_events::ids::TenantId;

use super::memory::Expiring;
use super::redis_link::{RedisLink, is_full};
use crate::config::LimitsConfig;

/// Largest answer that is kept. Larger ones are rare, and their repetition is refused instead.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What an answer is found by: a hash, so that no key of a caller's lies in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerKey(String);

impl AnswerKey {
    /// Of an Idempotency-Key in its scope: tenant, principal and route.
    #[must_use]
    pub fn of(tenant: TenantId, principal: &str, route: &str, idempotency_key: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026 kept answer v1");
        hasher.update(tenant.0.as_bytes());
        for part in [principal, route, idempotency_key] {
            // With its length before it, no two lists of parts are one text.
            hasher
                .update(&(part.len() as u64).to_le_bytes())
                .update(part.as_bytes());
        }
        Self(hasher.finalize().to_hex().to_string())
    }
}

/// Keeps answers.
pub struct KeptAnswers {
    link: RedisLink,
    ttl: Duration,
    memory: Mutex<Expiring<Bytes>>,
    started: Instant,
}

impl KeptAnswers {
    /// Keeps them in Redis, and in memory within the configured bounds while Redis is away.
    #[must_use]
    pub fn new(link: RedisLink, config: &LimitsConfig) -> Self {
        Self {
            link,
            ttl: Duration::from_secs(config.kept_answer_ttl_s),
            memory: Mutex::new(Expiring::new(config.memory_entries_max, config.memory_bytes_max)),
            started: Instant::now(),
        }
    }

    /// Keeps an answer. Whatever goes wrong, the answer itself is on its way already.
    pub async fn keep(&self, key: &AnswerKey, answer: Bytes) {
        if answer.len() > MAX_ANSWER_BYTES || !self.link.has_room() {
            return;
        }
        let name = self.link.key("answer", &key.0);
        let ttl_s = self.ttl.as_secs();
        let ask = async |connection: &mut redis::aio::MultiplexedConnection| {
            let mut set = redis::cmd("SET");
            set.arg(name).arg(answer.as_ref()).arg("EX").arg(ttl_s);
            match set.exec_async(connection).await {
                // An answer of a server that works: this one is not kept.
                Err(error) if is_full(&error) => Ok(()),
                outcome => outcome,
            }
        };
        if self.link.ask("answers", ask).await.is_none() {
            let now = self.now_ms();
            let expires = now.saturating_add(ttl_s * 1000);
            self.memory()
                .put(&key.0, answer.clone(), answer.len(), expires, now);
        }
    }

    /// The answer that was kept, if it still is.
    pub async fn find(&self, key: &AnswerKey) -> Option<Bytes> {
        let name = self.link.key("answer", &key.0);
        let ask = async |connection: &mut redis::aio::MultiplexedConnection| {
            redis::cmd("GET")
                .arg(name)
                .query_async::<Option<Vec<u8>>>(connection)
                .await
        };
        let kept = self.link.ask("answers", ask).await.flatten();
        // What was kept while Redis was away is still only here.
        kept.map(Bytes::from)
            .or_else(|| self.memory().get(&key.0, self.now_ms()).cloned())
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Expiring<Bytes>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
