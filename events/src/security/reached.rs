//! How far each log has been taken in: the tail's cursors, and where others wait for them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ids::{Position, TenantId};

/// The cursors.
#[derive(Default)]
pub(super) struct Reached {
    cursors: Mutex<HashMap<TenantId, Position>>,
    moved: Notify,
}

impl Reached {
    /// Up to where a log has been taken in.
    pub(super) fn of(&self, tenant: TenantId) -> Position {
        self.cursors().get(&tenant).copied().unwrap_or_default()
    }

    /// Whether this holds of any of the logs that were taken in.
    pub(super) fn any(&self, holds: impl Fn(TenantId, Position) -> bool) -> bool {
        self.cursors()
            .iter()
            .any(|(tenant, cursor)| holds(*tenant, *cursor))
    }

    /// Moves cursors, and lets those go on who waited for it.
    pub(super) fn advance(&self, to: impl Iterator<Item = (TenantId, Position)>) {
        self.cursors().extend(to);
        self.moved.notify_waiters();
    }

    /// Nothing has been taken in.
    pub(super) fn forget(&self) {
        self.cursors().clear();
    }

    /// Waits until a log has been taken in up to here.
    pub(super) async fn wait(&self, tenant: TenantId, position: Position) {
        loop {
            // Before looking, so that a move in between is not missed.
            let moved = self.moved.notified();
            if self.of(tenant) >= position {
                return;
            }
            moved.await;
        }
    }

    fn cursors(&self) -> MutexGuard<'_, HashMap<TenantId, Position>> {
        // Plain values: a panic elsewhere cannot leave them half changed.
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_waits_goes_on_when_the_log_is_there_and_not_before() {
        let (reached, tenant) = (Arc::new(Reached::default()), TenantId::generate());
        let waiting = {
            let reached = Arc::clone(&reached);
            tokio::spawn(async move { reached.wait(tenant, Position(3)).await })
        };
        tokio::task::yield_now().await;
        reached.advance([(TenantId::generate(), Position(9)), (tenant, Position(2))].into_iter());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        reached.advance([(tenant, Position(4))].into_iter());
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .unwrap()
            .unwrap();
        reached.wait(tenant, Position(4)).await;
    }
}
