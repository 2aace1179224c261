//! What ends, and in which order, when a process stops serving.
//!
//! `drain` tells everyone who holds a copy: the server stops accepting, open streams end, background work finishes.
//! `hurry`, shortly before the deadline, tells work that others wait for (a provider's answer) to end with what it
//! has, while that can still be recorded. Whatever is left at the deadline is aborted. What a request leaves
//! behind and what must drain is spawned here; loops that go on until the process stops are `Background`s of its parts.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Shared by the server, its streams and the work that requests leave behind. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    hurrying: CancellationToken,
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

    /// Cancelled shortly before the drain deadline. Work that waits for somebody else ends with what it has.
    #[must_use]
    pub fn hurrying(&self) -> &CancellationToken {
        &self.hurrying
    }

    /// Says that the drain deadline is near. Repeating it changes nothing.
    pub fn hurry(&self) {
        self.hurrying.cancel();
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

    /// Waits until all tasks have ended.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Aborts what is left, and waits until it has ended.
    pub async fn abort(&self) {
        self.aborted.cancel();
        self.ended().await;
    }
}
