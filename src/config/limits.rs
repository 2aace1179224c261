//! `[limits]`: how many requests a key may send, and how long answers are kept for a repeated one.

use serde::Deserialize;

use super::check::Checks;

/// Requests per key.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Sustained rate of one key.
    pub requests_per_minute: u32,
    /// How many of them may come at once.
    pub burst_requests: u32,
    /// How long an answer is kept for a repeated Idempotency-Key.
    pub kept_answer_ttl_s: u64,
    /// Keys and answers that this process remembers while Redis is away.
    pub memory_entries_max: usize,
    /// Bytes of answers that this process remembers while Redis is away.
    pub memory_bytes_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_minute: 600,
            burst_requests: 60,
            kept_answer_ttl_s: 24 * 3600,
            memory_entries_max: 50_000,
            memory_bytes_max: 32 << 20,
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within(
            "limits.requests_per_minute",
            self.requests_per_minute,
            1..=6_000_000,
        );
        checks.within("limits.burst_requests", self.burst_requests, 1..=100_000);
        checks.within("limits.kept_answer_ttl_s", self.kept_answer_ttl_s, 1..=24 * 3600);
        checks.within(
            "limits.memory_entries_max",
            self.memory_entries_max,
            1..=10_000_000,
        );
        checks.within(
            "limits.memory_bytes_max",
            self.memory_bytes_max,
            1 << 20..=1 << 34,
        );
    }
}
