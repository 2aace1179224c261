//! What follows from the configuration for the engine's two pools of threads: one decides, one checks.

use std::time::Duration;

use crate::config::PolicyConfig;

use super::compile::STACK_BYTES;
use super::pool::PoolLimits;
use super::self_test::{TEST_TIME_LIMIT, TESTS_TIME_LIMIT};

/// What compiling may take, and may add to a decision. The largest policies need a tenth of it, on a busy machine.
pub(super) const COMPILE_LIMIT: Duration = Duration::from_secs(2);
/// Publishing is rare; more than this waiting means something is wrong.
const CHECK_QUEUE_LEN: usize = 16;

pub(super) fn time_limit(config: &PolicyConfig) -> Duration {
    Duration::from_millis(config.time_limit_ms)
}

pub(super) fn decision_limits(config: &PolicyConfig) -> PoolLimits {
    PoolLimits {
        name: "policy-decide",
        threads: config.threads,
        queue_len: config.queue_max,
        queue_wait: Duration::from_millis(config.queue_timeout_ms),
        // Both layers to their limit, twice over, and both compiled.
        run_limit: (time_limit(config) * 2 + COMPILE_LIMIT) * 2,
        stack_bytes: STACK_BYTES,
    }
}

pub(super) fn check_limits() -> PoolLimits {
    PoolLimits {
        name: "policy-check",
        threads: 1,
        queue_len: CHECK_QUEUE_LEN,
        queue_wait: TESTS_TIME_LIMIT * 2,
        run_limit: TESTS_TIME_LIMIT + TEST_TIME_LIMIT + COMPILE_LIMIT * 2,
        stack_bytes: STACK_BYTES,
    }
}
