//! Waiting longer after each failure, up to a limit; a success starts over.

use std::time::Duration;

/// How long to wait before the next try.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self {
            first,
            limit,
            next: first,
        }
    }

    /// Waits, and doubles the next wait.
    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.limit);
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
