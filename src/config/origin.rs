//! `[origin]`: the secret that the edge proves itself by. Without it requests are answered wherever they come from.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::timestamp::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::check::Checks;
use crate::http::OriginProof;

/// Shortest secret: 128 bits in hexadecimal and more.
const MIN_SECRET_BYTES: usize = 32;

/// Proof of origin (`X-Origin-Verify`).
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OriginConfig {
    /// The edge's present secret; none: no proof is asked for.
    pub secret: Option<SecretString>,
    /// The one before, while edges still use it.
    pub previous_secret: Option<SecretString>,
    /// How far a proof's time may be from this process's clock, either way.
    pub window_s: u64,
}

impl Default for OriginConfig {
    fn default() -> Self {
        // Clocks that are kept by NTP differ by less than a second; the rest is queues on the way.
        Self {
            secret: None,
            previous_secret: None,
            window_s: 60,
        }
    }
}

impl OriginConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let sound = |secret: &Option<SecretString>| {
            let long =
                |secret: &SecretString| (MIN_SECRET_BYTES..=1024).contains(&secret.expose_secret().len());
            secret.as_ref().is_none_or(long)
        };
        let rule = "must be 32 to 1024 bytes";
        checks.require("origin.secret", sound(&self.secret), rule);
        checks.require("origin.previous_secret", sound(&self.previous_secret), rule);
        // Else whoever removes the wrong one of the two would open the door instead of rotating its lock.
        checks.require(
            "origin.previous_secret",
            self.previous_secret.is_none() || self.secret.is_some(),
            "needs origin.secret beside it",
        );
        checks.within("origin.window_s", self.window_s, 1..=3600);
    }

    /// What checks proofs, if any are asked for.
    #[must_use]
    pub fn proof(&self, clock: Arc<dyn Clock>) -> Option<OriginProof> {
        let secrets = self.secret.iter().chain(&self.previous_secret);
        self.secret.as_ref()?;
        Some(OriginProof::new(
            secrets,
            Duration::from_secs(self.window_s),
            clock,
        ))
    }
}
