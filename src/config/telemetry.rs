//! `[telemetry]`: what is logged, and how it is written.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::check::Checks;

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How lines are written.
    pub log_format: LogFormat,
    /// What is logged, as `tracing`'s directives: `info,counterfoil::access=warn`.
    pub log_filter: String,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        // Libraries speak up when something is wrong; sqlx would log every statement at info.
        Self {
            log_format: LogFormat::Auto,
            log_filter: "warn,counterfoil=info".to_owned(),
        }
    }
}

impl TelemetryConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let sound = EnvFilter::try_new(&self.log_filter).is_ok();
        checks.require(
            "telemetry.log_filter",
            sound,
            "must be directives such as `warn,counterfoil=info`",
        );
    }
}
