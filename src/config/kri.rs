//! `[kri]`: how sources of key risk indicators are run and fetched.

use serde::Deserialize;

use super::check::Checks;
use crate::kri::config::FetchConfig;

/// Sources of key risk indicators.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KriConfig {
    /// Runs that this process works on at one time.
    pub concurrent_runs: usize,
    /// How long a runner holds a run before another may start it again.
    pub lease_s: u64,
    /// Limits of what is fetched, and the private addresses that may be reached all the same.
    pub fetch: FetchConfig,
}

impl Default for KriConfig {
    fn default() -> Self {
        Self {
            concurrent_runs: 4,
            lease_s: 90,
            fetch: FetchConfig::default(),
        }
    }
}

impl KriConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.within("kri.concurrent_runs", self.concurrent_runs, 1..=256);
        checks.within("kri.lease_s", self.lease_s, 10..=3600);
        if let Err(error) = self.fetch.validate() {
            checks.require("kri.fetch", false, &error.to_string());
        }
        let outlives = self.lease_s.saturating_mul(1000) > self.fetch.total_timeout_ms;
        checks.require(
            "kri.lease_s",
            outlives,
            "must be longer than kri.fetch.total_timeout_ms",
        );
    }
}
