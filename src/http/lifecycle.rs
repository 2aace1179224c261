//! What ends, and in which order, when a process stops serving.
//!
//! `drain` tells everyone who holds a copy: the server stops accepting, open streams end, background work
//! finishes. Whatever is left at the deadline is aborted. Every task outside a connection is spawned here,
//! so that none is detached.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by the server, its streams and the work that requests leave behind. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    aborted: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// A process that serves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when draining begins. Long streams end when they see it.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Begins draining. Repeating it changes nothing.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Runs a task that the drain awaits, and aborts at its deadline.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let aborted = self.aborted.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = aborted.cancelled() => tracing::warn!(task = name, "aborted at the drain deadline"),
                () = task => {}
            }
        });
    }

    /// Waits for the tasks; at the deadline the rest is aborted. True if all finished by themselves.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.tasks.close();
        let finished = tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok();
        self.aborted.cancel();
        self.tasks.wait().await;
        finished
    }
}
