//! Sizes and limits of the policy engine, and what follows from them for its two pools of threads.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;

use super::compile::STACK_BYTES;
use super::pool::PoolLimits;
use super::self_test::{TEST_TIME_LIMIT, TESTS_TIME_LIMIT};

/// What compiling may take, and may add to a decision. The largest policies need a tenth of it, on a busy machine.
pub(super) const COMPILE_LIMIT: Duration = Duration::from_secs(2);
/// Publishing is rare; more than this waiting means something is wrong.
const CHECK_QUEUE_LEN: usize = 16;

/// Sizes and limits of the policy engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEngineConfig {
    /// Threads that decide.
    pub threads: usize,
    /// Decisions that may wait for a thread; more are refused.
    pub queue_len: usize,
    /// How long a decision may wait for a thread, in milliseconds.
    pub queue_wait_ms: u64,
    /// How long one policy may take for one decision, in milliseconds. Policies take well under one; the limit
    /// is generous because meeting it is the one outcome that depends on the machine.
    pub time_limit_ms: u64,
    /// Largest input document, in bytes of JSON.
    pub input_bytes_max: usize,
    /// Compiled policies that each thread keeps.
    pub cached_policies: NonZeroUsize,
}

impl Default for PolicyEngineConfig {
    fn default() -> Self {
        Self {
            threads: 2,
            queue_len: 1_024,
            queue_wait_ms: 1_000,
            time_limit_ms: 250,
            input_bytes_max: 4 * 1024 * 1024,
            cached_policies: const { NonZeroUsize::new(256).unwrap() },
        }
    }
}

impl PolicyEngineConfig {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// A text that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        if self.threads == 0 || self.queue_len == 0 || self.time_limit_ms == 0 || self.input_bytes_max == 0 {
            return Err(
                "threads, queue_len, time_limit_ms and input_bytes_max must be at least 1".to_owned(),
            );
        }
        Ok(())
    }

    pub(super) fn time_limit(&self) -> Duration {
        Duration::from_millis(self.time_limit_ms)
    }

    pub(super) fn decision_limits(&self) -> PoolLimits {
        PoolLimits {
            name: "policy-decide",
            threads: self.threads,
            queue_len: self.queue_len,
            queue_wait: Duration::from_millis(self.queue_wait_ms),
            // Both layers to their limit, twice over, and both compiled.
            run_limit: (self.time_limit() * 2 + COMPILE_LIMIT) * 2,
            stack_bytes: STACK_BYTES,
        }
    }

    pub(super) fn check_limits(&self) -> PoolLimits {
        PoolLimits {
            name: "policy-check",
            threads: 1,
            queue_len: CHECK_QUEUE_LEN,
            queue_wait: TESTS_TIME_LIMIT * 2,
            run_limit: TESTS_TIME_LIMIT + TEST_TIME_LIMIT + COMPILE_LIMIT * 2,
            stack_bytes: STACK_BYTES,
        }
    }
}
