//! How many requests a key may send: one atomic step in Redis, or the same step in memory.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::Script;

use super::gcra::{self, Rate, Verdict};
use super::memory::Expiring;
use super::redis_link::RedisLink;

/// Counts requests per key.
pub struct RequestLimiter {
    link: RedisLink,
    script: Script,
    memory: Mutex<Expiring<u64>>,
    started: Instant,
}

impl RequestLimiter {
    /// Counts in Redis, and in memory for at most `memory_entries_max` keys while Redis is away.
    #[must_use]
    pub fn new(link: RedisLink, memory_entries_max: usize) -> Self {
        Self {
            link,
            script: Script::new(include_str!("gcra.lua")),
            memory: Mutex::new(Expiring::new(memory_entries_max, usize::MAX)),
            started: Instant::now(),
        }
    }

    /// Counts one request of `key` (such as `agent-key:<id>`; an id of ours, never a caller's text).
    pub async fn count(&self, key: &str, rate: Rate) -> Verdict {
        match self.in_redis(key, rate).await {
            Some(verdict) => verdict,
            None => self.in_memory(key, rate),
        }
    }

    async fn in_redis(&self, key: &str, rate: Rate) -> Option<Verdict> {
        let name = self.link.key("requests", key);
        let mut call = self.script.prepare_invoke();
        call.key(name).arg(rate.interval_us()).arg(rate.burst());
        let ask = async |connection: &mut redis::aio::MultiplexedConnection| {
            call.invoke_async::<(u8, u32, u64, u64)>(connection).await
        };
        let (allowed, remaining, retry_us, reset_us) = self.link.ask("requests", ask).await?;
        Some(Verdict {
            allowed: allowed == 1,
            remaining,
            retry_after: Duration::from_micros(retry_us),
            reset_after: Duration::from_micros(reset_us),
        })
    }

    fn in_memory(&self, key: &str, rate: Rate) -> Verdict {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Plain values: a panic elsewhere cannot leave them half changed.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (verdict, next) = gcra::step(memory.get(key, now).copied(), now, rate);
        if let Some(next) = next {
            memory.put(key, next, 0, next, now);
        }
        verdict
    }
}
