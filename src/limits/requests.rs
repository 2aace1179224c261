//! How many requests may come: one atomic step in Redis for all that a request counts under, or the same step in memory.

use std::time::Duration;

use redis::Script;

use super::gcra::{Rate, Verdict};
use super::local::LocalLimiter;
use super::redis_link::RedisLink;

/// What the script gives for one key: allowed, remaining, retry after, reset after.
type Answer = (u8, u32, u64, u64);

/// Counts requests per key.
pub struct RequestLimiter {
    link: RedisLink,
    script: Script,
    local: LocalLimiter,
}

impl RequestLimiter {
    /// Counts in Redis; and in memory, for at most `memory_entries_max` keys, what this process let pass, which holds while
    /// Redis is away.
    #[must_use]
    pub fn new(link: RedisLink, memory_entries_max: usize) -> Self {
        Self {
            link,
            script: Script::new(include_str!("gcra.lua")),
            local: LocalLimiter::new(memory_entries_max),
        }
    }

    /// Counts one request of `key` (such as `agent-key:<id>`; an id of ours, never a caller's text).
    pub async fn count(&self, key: &str, rate: Rate) -> Verdict {
        let mut verdicts = self.count_all(&[(key.to_owned(), rate)]).await;
        verdicts.swap_remove(0)
    }

    /// Counts one request under all of these keys if it passes under each of them, else under none; in one round trip.
    /// One verdict for each key, in their order.
    pub async fn count_all(&self, keys: &[(String, Rate)]) -> Vec<Verdict> {
        match self.in_redis(keys, None).await {
            Some(verdicts) => {
                // So that nobody has a whole burst again when Redis is late once, or away.
                if verdicts.iter().all(|verdict| verdict.allowed) {
                    self.local.step(keys);
                }
                verdicts
            }
            None => self.local.step(keys).0,
        }
    }

    /// As [`count_all`](Self::count_all), at this time instead of Redis's own, and in Redis alone: for the test that
    /// compares it with the function in memory.
    #[doc(hidden)]
    pub async fn count_all_at(&self, keys: &[(String, Rate)], now_us: u64) -> Option<Vec<Verdict>> {
        self.in_redis(keys, Some(now_us)).await
    }

    async fn in_redis(&self, keys: &[(String, Rate)], now_us: Option<u64>) -> Option<Vec<Verdict>> {
        let mut call = self.script.prepare_invoke();
        call.arg(now_us.unwrap_or(0));
        for (key, rate) in keys {
            call.key(self.link.key("requests", key));
            call.arg(rate.interval_us()).arg(rate.burst());
        }
        let ask = async |connection: &mut redis::aio::MultiplexedConnection| {
            call.invoke_async::<Vec<Answer>>(connection).await
        };
        let answers = self.link.ask("requests", ask).await?;
        let verdicts = answers.into_iter().zip(keys);
        Some(
            verdicts
                .map(|(answer, (_, rate))| verdict(answer, *rate))
                .collect(),
        )
    }
}

fn verdict((allowed, remaining, retry_us, reset_us): Answer, rate: Rate) -> Verdict {
    Verdict {
        limit: rate.burst(),
        allowed: allowed == 1,
        remaining,
        retry_after: Duration::from_micros(retry_us),
        reset_after: Duration::from_micros(reset_us),
    }
}
