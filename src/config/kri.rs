//! `[kri]`: how sources of key risk indicators are fetched.

use serde::Deserialize;

use super::check::Checks;

/// Sources of key risk indicators.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KriConfig {
    /// Runs that this process works on at one time.
    pub concurrent_runs: usize,
    /// How long a runner holds a run before another may start it again.
    pub lease_s: u64,
}

impl Default for KriConfig {
    fn default() -> Self {
        Self {
            concurrent_runs: 4,
            lease_s: 90,
        }
    }
}

impl KriConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("kri.concurrent_runs", self.concurrent_runs, 1..=256);
        checks.within("kri.lease_s", self.lease_s, 10..=3600);
    }
}
