//! What a feeder is told: how far which logs reach. Bounded by the number of tenants, since only the latest counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use counterfoil_events::ids::{Position, TenantId};
use tokio::sync::Notify;

/// News for one feeder.
#[derive(Default)]
pub(super) struct Inbox {
    news: Mutex<HashMap<TenantId, Position>>,
    arrived: Notify,
}

impl Inbox {
    pub(super) fn put(&self, news: &[(TenantId, Position)]) {
        {
            // Only ever inserted into and taken whole: a panic elsewhere cannot leave it half changed.
            let mut held = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            for (tenant, position) in news {
                let latest = held.entry(*tenant).or_default();
                *latest = (*latest).max(*position);
            }
        }
        self.arrived.notify_one();
    }

    /// Waits for news and takes it.
    pub(super) async fn wait(&self) -> HashMap<TenantId, Position> {
        loop {
            let news = self.take();
            if !news.is_empty() {
                return news;
            }
            self.arrived.notified().await;
        }
    }

    /// Takes what news there is.
    pub(super) fn take(&self) -> HashMap<TenantId, Position> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
