//! When sessions were last used, as far as Redis and this process remember: a shortcut to the row in Postgres, which
//! alone can say that a session has ended.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use counterfoil_events::ids::ApiKeyId;
use counterfoil_events::timestamp::Timestamp;

use super::memory::Expiring;
use super::redis_link::{RedisLink, is_full};

/// What an entry takes in memory, about.
const ENTRY_BYTES: usize = 128;

/// Remembers.
pub struct LastUses {
    link: RedisLink,
    ttl: Duration,
    memory: Mutex<Expiring<Timestamp>>,
    started: Instant,
}

impl LastUses {
    /// Entries are forgotten after `ttl`; this process remembers `entries_max` at the most.
    #[must_use]
    pub fn new(link: RedisLink, ttl: Duration, entries_max: usize) -> Self {
        let bytes_max = entries_max.saturating_mul(ENTRY_BYTES);
        Self {
            link,
            ttl,
            memory: Mutex::new(Expiring::new(entries_max, bytes_max)),
            started: Instant::now(),
        }
    }

    /// What this process remembers.
    pub fn here(&self, session: ApiKeyId) -> Option<Timestamp> {
        let now = self.now_ms();
        self.memory().get(&session.to_string(), now).copied()
    }

    /// What Redis remembers; none when it does not answer.
    pub async fn shared(&self, session: ApiKeyId) -> Option<Timestamp> {
        let name = self.link.key("session", &session.to_string());
        let ask = async |connection: &mut redis::aio::MultiplexedConnection| {
            redis::cmd("GET")
                .arg(name)
                .query_async::<Option<String>>(connection)
                .await
        };
        let kept = self.link.ask("sessions", ask).await.flatten();
        kept.and_then(|text| text.parse().ok())
    }

    /// Remembers a use, here and in Redis as far as it answers.
    pub async fn keep(&self, session: ApiKeyId, at: Timestamp) {
        let (now, ttl_s) = (self.now_ms(), self.ttl.as_secs());
        let expires = now.saturating_add(ttl_s * 1000);
        self.memory()
            .put(&session.to_string(), at, ENTRY_BYTES, expires, now);
        let name = self.link.key("session", &session.to_string());
        let ask = async |connection: &mut redis::aio::MultiplexedConnection| {
            let mut set = redis::cmd("SET");
            set.arg(name).arg(at.to_string()).arg("EX").arg(ttl_s.max(1));
            match set.exec_async(connection).await {
                // An answer of a server that works: this one is not kept.
                Err(error) if is_full(&error) => Ok(()),
                outcome => outcome,
            }
        };
        // Without it the row is asked more often.
        let _ = self.link.ask("sessions", ask).await;
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Expiring<Timestamp>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
