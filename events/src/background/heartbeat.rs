//! Whether a loop still turns: its age is its liveness. A loop that waits beats too; one that hangs does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often a loop that waits beats.
const BEAT: Duration = Duration::from_secs(1);

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

    /// Waits for something that may take for ever and is no fault of the loop's, beating meanwhile.
    pub async fn during<T>(&self, waited_for: impl Future<Output = T>) -> T {
        tokio::pin!(waited_for);
        loop {
            self.beat();
            if let Ok(value) = tokio::time::timeout(BEAT, &mut waited_for).await {
                return value;
            }
        }
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

/// The heartbeats of every loop of a process, in one place: `/live` asks them all. Clones are one list.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats(Arc<Mutex<Vec<Heartbeat>>>);

impl Heartbeats {
    /// Watches a loop from now on.
    pub fn watch(&self, heartbeat: &Heartbeat) {
        // Only ever pushed to: a panic elsewhere cannot leave it half changed.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(heartbeat.clone());
    }

    /// The loop that has been silent longest, if that is longer than `limit`, with how long it has been.
    #[must_use]
    pub fn silent_for(&self, limit: Duration) -> Option<(String, Duration)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = all.iter().map(|heartbeat| (heartbeat.age(), heartbeat.name()));
        let (age, name) = ages.max()?;
        (age > limit).then(|| (name.to_owned(), age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_beats_and_one_that_hangs_is_named() {
        let (waits, hangs) = (Heartbeat::new("waits"), Heartbeat::new("hangs"));
        let all = Heartbeats::default();
        all.watch(&waits);
        all.watch(&hangs);
        let limit = Duration::from_secs(60);
        waits.during(tokio::time::sleep(limit)).await;
        assert_eq!(all.silent_for(limit), None);
        waits.during(tokio::time::sleep(Duration::from_secs(5))).await;
        let (name, age) = all.silent_for(limit).unwrap_or_default();
        assert_eq!((name.as_str(), age.as_secs()), ("hangs", 65));
        hangs.beat();
        assert_eq!(all.silent_for(limit), None);
    }
}
