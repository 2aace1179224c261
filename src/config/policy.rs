//! `[policy]`: sizes and limits of the engine that evaluates policies (`docs/policy-contract.md`).

use std::num::NonZeroUsize;

use serde::Deserialize;

use super::check::Checks;

/// The policy engine.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Threads that decide.
    pub threads: usize,
    /// Decisions that may wait for a thread; more are answered with 503.
    pub queue_max: usize,
    /// How long a decision may wait for a thread.
    pub queue_timeout_ms: u64,
    /// How long one policy may take for one decision. Policies take well under one; the limit is generous because
    /// meeting it is the one outcome that depends on the machine.
    pub time_limit_ms: u64,
    /// Largest input document, as JSON.
    pub input_bytes_max: usize,
    /// Compiled policies that are kept.
    pub cached_policies: NonZeroUsize,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            threads: 2,
            queue_max: 1_024,
            queue_timeout_ms: 1_000,
            time_limit_ms: 250,
            input_bytes_max: 4 << 20,
            cached_policies: const { NonZeroUsize::new(256).unwrap() },
        }
    }
}

impl PolicyConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("policy.threads", self.threads, 1..=256);
        checks.within("policy.queue_max", self.queue_max, 1..=100_000);
        checks.within("policy.queue_timeout_ms", self.queue_timeout_ms, 1..=60_000);
        checks.within("policy.time_limit_ms", self.time_limit_ms, 1..=10_000);
        // A function call may be given twice as much (8 MiB).
        checks.within("policy.input_bytes_max", self.input_bytes_max, 1 << 10..=4 << 20);
        checks.within("policy.cached_policies", self.cached_policies.get(), 1..=100_000);
    }
}
