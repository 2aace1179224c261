//! What a process says of itself. Logs: for people on a terminal, one JSON object a line elsewhere; they go to stderr,
//! stdout is for answers. Figures: recorded from here on, and shown at `/metrics`.
//!
//! No secret reaches them: secrets are `SecretString`s, which print as `[REDACTED]`, and the access log names
//! routes and ids, never paths, queries or bodies.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, TelemetryConfig};
use crate::http::metrics;

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.log_filter` is not made of directives.
    #[error("telemetry.log_filter: {0}")]
    Filter(#[from] ParseError),
    /// Something else has set up logs before.
    #[error("logs are set up already")]
    Twice,
}

/// Sets up this process's logs, panics included, and the recording of figures.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    // For a closer look at one run, RUST_LOG wins, as everywhere.
    let filter = match EnvFilter::try_from_default_env() {
        Ok(filter) => filter,
        Err(_) => EnvFilter::try_new(&config.log_filter)?,
    };
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let done = match config.log_format {
        LogFormat::Auto if terminal => registry.with(lines).try_init(),
        LogFormat::Human => registry.with(lines.with_ansi(terminal)).try_init(),
        LogFormat::Auto | LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_current_span(false))
            .try_init(),
    };
    done.map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    metrics::install();
    Ok(())
}

/// A panic is a line like others, so that it is found where the rest is.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text");
    let location = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(target: "counterfoil::panic", location, thread = thread.name(), message, "panic");
}
