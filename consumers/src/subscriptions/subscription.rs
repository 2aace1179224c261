//! One subscriber's way through a log. Steps:
//!
//! 1. *Catch up*: stretches from Postgres, until what follows the cursor is in the topic's window.
//! 2. *Follow*: what follows the cursor in the window. One that falls out of it is too slow, and dropped.
//!
//! Both advance the same cursor, position by position, so there is nothing to get wrong between them.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::ids::Position;

use super::Shared;
use super::choice::Choice;
use super::item::Item;
use super::read;
use super::topic::Topic;
use super::window::Next;

/// Events of one step: what a subscriber may hold besides the window.
const BATCH: usize = 64;
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// Why a subscription cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It read more slowly than the log grew.
    #[error(
        "read too slowly: more was recorded than is held for those who follow live; go on from the last position seen"
    )]
    Slow,
    /// Positions are missing.
    #[error("the log is damaged after this position: `counterfoil audit verify` says where")]
    Damaged,
    /// The process stops.
    #[error("this process stops; go on from the last position seen, at another or later")]
    Stopped,
}

/// What one step of the way brought.
#[derive(Debug)]
pub struct Batch {
    /// The wanted events, in position order; none, where none of the stretch was wanted.
    pub items: Vec<Arc<Item>>,
    /// Everything up to and with this position is done with.
    pub through: Position,
}

/// One subscriber. Its seat is given back when it is dropped.
pub struct Subscription {
    pub(super) shared: Arc<Shared>,
    pub(super) topic: Arc<Topic>,
    pub(super) principal: String,
    pub(super) choice: Choice,
    pub(super) cursor: Position,
    pub(super) live: bool,
}

impl Subscription {
    /// Everything up to and with this position is done with.
    #[must_use]
    pub fn cursor(&self) -> Position {
        self.cursor
    }

    /// The next step; waits where there is nothing new. What is given up half way is repeated by the next call.
    ///
    /// # Errors
    /// When it cannot go on; see [`Dropped`].
    pub async fn next(&mut self) -> Result<Batch, Dropped> {
        let (stop, damaged) = (self.topic.stop.clone(), self.topic.damaged.clone());
        tokio::select! {
            biased;
            batch = self.step() => batch,
            () = damaged.cancelled() => Err(Dropped::Damaged),
            () = stop.cancelled() => Err(Dropped::Stopped),
        }
    }

    async fn step(&mut self) -> Result<Batch, Dropped> {
        loop {
            match self.topic.after(self.cursor, BATCH) {
                Next::Events(items) => {
                    self.live = true;
                    let through = items.last().map_or(self.cursor, |item| item.position());
                    return Ok(self.advance(items, through));
                }
                Next::Nothing => {
                    self.live = true;
                    self.topic.beyond(self.cursor).await;
                }
                Next::Gone if self.live => return Err(Dropped::Slow),
                Next::Gone => {
                    let stretch = self.catch_up().await;
                    let items = stretch.items.into_iter().map(Arc::new).collect();
                    return Ok(self.advance(items, stretch.through));
                }
            }
        }
    }

    fn advance(&mut self, mut items: Vec<Arc<Item>>, through: Position) -> Batch {
        self.cursor = through;
        if !self.choice.is_everything() {
            items.retain(|item| self.choice.takes(item));
        }
        Batch { items, through }
    }

    /// The next stretch from Postgres, however long it is away. Only a few read at a time.
    async fn catch_up(&self) -> read::Stretch {
        loop {
            // The semaphore is never closed.
            let turn = self.shared.catching_up.acquire().await;
            let range = (self.cursor, self.topic.end());
            match read::stretch(
                &self.shared.database,
                self.topic.tenant,
                range,
                &self.choice,
                BATCH,
            )
            .await
            {
                Ok(stretch) => return stretch,
                Err(error) => {
                    tracing::debug!(tenant = %self.topic.tenant, %error, "a subscriber cannot catch up");
                }
            }
            drop(turn);
            tokio::time::sleep(AFTER_ERROR).await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.leave(self.topic.tenant, &self.principal);
    }
}
