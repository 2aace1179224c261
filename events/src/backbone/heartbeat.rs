//! Whether a loop still turns: its age is its liveness. A loop that waits beats too; one that hangs does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Beaten by a loop, read by whoever asks how it is. Clones are one heart.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    name: Arc<str>,
    started: Instant,
    /// Milliseconds after `started`.
    last: Arc<AtomicU64>,
}

impl Heartbeat {
    /// A loop's heartbeat under its `name`, such as `relay-0`; it starts beating now.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let beat = Self {
            name: name.into(),
            started: Instant::now(),
            last: Arc::default(),
        };
        beat.beat();
        beat
    }

    /// The loop turns.
    pub fn beat(&self) {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed_ms, Ordering::Relaxed);
        let now_seconds = chrono::Utc::now().timestamp_millis() as f64 / 1000.0;
        metrics::gauge!("counterfoil_heartbeat_timestamp_seconds", "loop" => self.name.to_string())
            .set(now_seconds);
    }

    /// How long ago it last turned.
    #[must_use]
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// The loop's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
