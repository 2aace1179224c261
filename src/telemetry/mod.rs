//! What a process says of itself. Logs: for people on a terminal, one JSON object a line elsewhere; they go to stderr,
//! stdout is for answers. `up`, which has a story to tell, writes them to a file and only warnings to stderr. Figures: recorded from here on, and shown at `/metrics`.
//!
//! No secret reaches them: secrets are `SecretString`s, which print as `[REDACTED]`, and the access log names
//! routes and ids, never paths, queries or bodies.

mod log_file;

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use log_file::LogFile;

use crate::config::{LogFormat, TelemetryConfig};
use crate::http::metrics;

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.log_filter` is not made of directives.
    #[error("telemetry.log_filter: {0}")]
    Filter(#[from] ParseError),
    /// The file cannot be written to.
    #[error("the log {path} cannot be opened: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something else has set up logs before.
    #[error("logs are set up already")]
    Twice,
}

/// Sets up this process's logs, panics included, and the recording of figures.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    let filter = filter(config)?;
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
    watch();
    Ok(())
}

/// The same with the log in a file, one JSON object a line, and only warnings on stderr.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init_to_file(config: &TelemetryConfig, path: &Path) -> Result<(), TelemetryError> {
    let file = LogFile::open(path).map_err(|source| TelemetryError::File {
        path: path.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(Mutex::new(file))
        .with_filter(filter(config)?);
    let warnings = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(LevelFilter::WARN);
    tracing_subscriber::registry()
        .with(lines)
        .with(warnings)
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    watch();
    Ok(())
}

fn filter(config: &TelemetryConfig) -> Result<EnvFilter, ParseError> {
    // For a closer look at one run, RUST_LOG wins, as everywhere.
    EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&config.log_filter))
}

/// Panics and figures.
fn watch() {
    std::panic::set_hook(Box::new(log_panic));
    metrics::install();
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
