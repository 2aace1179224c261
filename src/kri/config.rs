//! Limits of what connectors fetch, and the private addresses they may reach all the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::{AllowedNet, NetworkGuard};

/// Largest payload that may be configured: a payload is held in memory, once per run.
const MAX_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;

/// Longest total time that may be configured: well within the lease of a run.
const MAX_TOTAL_TIMEOUT_MS: u64 = 60_000;

/// How documents are fetched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConfig {
    /// Largest body that is read.
    pub max_bytes: usize,
    /// Longest wait for a connection.
    pub connect_timeout_ms: u64,
    /// Longest time for everything: name, connection, answer, body.
    pub total_timeout_ms: u64,
    /// Private addresses that sources may be fetched from: `10.1.0.0/16`, `192.168.1.7`, `127.0.0.1:8089`,
    /// `fd00::/8`. None by default.
    pub allow_private: Vec<AllowedNet>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            max_bytes: 1024 * 1024,
            connect_timeout_ms: 3_000,
            total_timeout_ms: 10_000,
            allow_private: Vec::new(),
        }
    }
}

/// A setting outside its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}; it must lie between 1 and {limit}")]
pub struct FetchConfigError {
    setting: &'static str,
    value: u64,
    limit: u64,
}

impl FetchConfig {
    /// Checks the limits of the limits.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), FetchConfigError> {
        let within = |setting, value, limit| {
            if (1..=limit).contains(&value) {
                Ok(())
            } else {
                Err(FetchConfigError {
                    setting,
                    value,
                    limit,
                })
            }
        };
        within("max_bytes", self.max_bytes as u64, MAX_PAYLOAD_BYTES as u64)?;
        within("total_timeout_ms", self.total_timeout_ms, MAX_TOTAL_TIMEOUT_MS)?;
        within(
            "connect_timeout_ms",
            self.connect_timeout_ms,
            self.total_timeout_ms,
        )
    }

    /// The guard that these settings make.
    #[must_use]
    pub fn guard(&self) -> NetworkGuard {
        NetworkGuard::new(self.allow_private.clone())
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn total_timeout(&self) -> Duration {
        Duration::from_millis(self.total_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_defaults_are_valid_and_allow_nothing_private() {
        let config = FetchConfig::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.allow_private, []);
    }

    #[test]
    fn a_setting_beyond_its_limit_is_named() {
        let config = FetchConfig {
            connect_timeout_ms: 20_000,
            ..FetchConfig::default()
        };
        insta::assert_snapshot!(config.validate().unwrap_err(), @"connect_timeout_ms is 20000; it must lie between 1 and 10000");
        let config = FetchConfig {
            max_bytes: 0,
            ..FetchConfig::default()
        };
        insta::assert_snapshot!(config.validate().unwrap_err(), @"max_bytes is 0; it must lie between 1 and 67108864");
    }

    #[test]
    fn unknown_settings_and_unreadable_networks_are_refused() {
        let read = |text| serde_json::from_str::<FetchConfig>(text);
        assert!(read(r#"{"allow_private":["127.0.0.1:8089","fd00::/8"]}"#).is_ok());
        assert!(read(r#"{"allow_private":["localhost"]}"#).is_err());
        assert!(read(r#"{"max_byte":1}"#).is_err());
    }
}
