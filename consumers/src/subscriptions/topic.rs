//! One log that has subscribers: its window, and the one reader that fills it for all of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::Database;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::choice::Choice;
use super::read;
use super::window::{Next, Window, WindowLimits};

/// Events of one read at most.
const MAX_PAGE: usize = 256;
/// Reads that fit the window: one that was just at the end must not fall out of it by a single read.
const READS_PER_WINDOW: usize = 4;
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// A log that is followed.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) tenant: TenantId,
    window: Mutex<Window>,
    /// The window's end, for those who wait for it to move.
    end: watch::Sender<Position>,
    /// How far the log is known to reach.
    known: watch::Sender<Position>,
    page: usize,
    /// Cancelled when the last subscriber leaves, or the process stops.
    pub(super) stop: CancellationToken,
    /// Cancelled when the log turned out to be damaged.
    pub(super) damaged: CancellationToken,
}

impl Topic {
    /// Of a log that reaches to `head`; what comes after that is followed.
    pub(super) fn new(
        tenant: TenantId,
        head: Position,
        limits: WindowLimits,
        stop: CancellationToken,
    ) -> Self {
        Self {
            tenant,
            window: Mutex::new(Window::new(head, limits)),
            end: watch::Sender::new(head),
            known: watch::Sender::new(head),
            page: (limits.events_max / READS_PER_WINDOW).clamp(1, MAX_PAGE),
            stop,
            damaged: CancellationToken::new(),
        }
    }

    /// The log reaches at least to `position`.
    pub(super) fn reaches(&self, position: Position) {
        self.known.send_if_modified(|known| {
            let further = position > *known;
            *known = (*known).max(position);
            further
        });
    }

    /// What follows a cursor.
    pub(super) fn after(&self, cursor: Position, limit: usize) -> Next {
        self.window().after(cursor, limit)
    }

    /// The last position that the window has reached.
    pub(super) fn end(&self) -> Position {
        *self.end.borrow()
    }

    /// Waits until the window reaches beyond `cursor`.
    pub(super) async fn beyond(&self, cursor: Position) {
        let mut end = self.end.subscribe();
        // The sender is ours, so it cannot have gone.
        let _ = end.wait_for(|end| *end > cursor).await;
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        // Each item is pushed whole; a panic elsewhere cannot leave it half pushed.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is new for as long as anybody follows.
    pub(super) async fn run(&self, database: &Database) {
        self.stop.run_until_cancelled(self.read(database)).await;
    }

    async fn read(&self, database: &Database) {
        let everything = Choice::default();
        let mut known = self.known.subscribe();
        loop {
            let (from, to) = (self.end(), *known.borrow_and_update());
            if from >= to {
                // As above.
                let _ = known.changed().await;
                continue;
            }
            match read::stretch(database, self.tenant, (from, to), &everything, self.page).await {
                Ok(stretch) => {
                    if !self.push(stretch, from) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(tenant = %self.tenant, %error, "a log that is subscribed to cannot be read");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    fn push(&self, stretch: read::Stretch, from: Position) -> bool {
        let items = stretch.items.into_iter().map(std::sync::Arc::new);
        let mut window = self.window();
        let pushed = window.push(items);
        let end = window.end();
        drop(window);
        self.end.send_replace(end);
        match pushed {
            Ok(()) if end == stretch.through => true,
            Ok(()) => self.give_up(&format!(
                "positions {} to {} are missing",
                from.next(),
                stretch.through
            )),
            Err(hole) => self.give_up(&hole.to_string()),
        }
    }

    fn give_up(&self, reason: &str) -> bool {
        tracing::error!(tenant = %self.tenant, reason, "a log that is subscribed to is damaged; its streams end");
        self.damaged.cancel();
        false
    }
}
