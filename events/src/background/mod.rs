//! Loops of a process: each with the task that it runs in, the token that stops it, and its heartbeat, in one owner.

mod heartbeat;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use heartbeat::{Heartbeat, Heartbeats};

/// A running loop. Dropped, it is stopped and nobody waits for its end; [`Background::stop`] waits.
#[must_use = "dropping it stops the loop"]
pub struct Background {
    stop: DropGuard,
    task: JoinHandle<()>,
    heartbeat: Heartbeat,
}

impl Background {
    /// Starts a loop under a name such as `relay-0`. It is dropped when it is stopped, at whichever await it stands.
    pub fn start<F>(name: &str, run: impl FnOnce(Heartbeat) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_told(name, |heartbeat, stop| {
            let running = run(heartbeat);
            async move {
                stop.run_until_cancelled(running).await;
            }
        })
    }

    /// Starts a loop that is told to stop, and then ends by itself.
    pub fn start_told<F>(name: &str, run: impl FnOnce(Heartbeat, CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, heartbeat) = (CancellationToken::new(), Heartbeat::new(name));
        let task = tokio::spawn(run(heartbeat.clone(), stop.clone()));
        Self {
            stop: stop.drop_guard(),
            task,
            heartbeat,
        }
    }

    /// Its heartbeat.
    #[must_use]
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// Stops it, and waits until it has ended.
    pub async fn stop(self) {
        let Self {
            stop,
            task,
            heartbeat,
        } = self;
        drop(stop);
        if let Err(error) = task.await {
            tracing::error!(name = heartbeat.name(), %error, "a loop ended badly");
        }
    }
}

/// Stops loops in the reverse order of their start.
pub async fn stop_all(loops: Vec<Background>) {
    for running in loops.into_iter().rev() {
        running.stop().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_loop_is_dropped_where_it_waits_and_one_that_is_told_ends_by_itself() {
        let (held, dropped) = oneshot::channel::<()>();
        let waits = Background::start("waits", |_| async move {
            let _held = held;
            std::future::pending().await
        });
        assert_eq!(waits.heartbeat().name(), "waits");
        waits.stop().await;
        dropped.await.unwrap_err();

        let (ended, told) = oneshot::channel();
        let tidies = Background::start_told("tidies", |_, stop| async move {
            stop.cancelled().await;
            ended.send("tidied up").unwrap();
        });
        tidies.stop().await;
        assert_eq!(told.await.unwrap(), "tidied up");
    }
}
