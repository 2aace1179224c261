//! News of the logs: how far which tenant's log reaches, for whoever follows it.
//!
//! From three places: the commits of this process at once, the hints of others over NATS, and the scans of the chain
//! heads, which nothing escapes.

use std::time::Duration;

use counterfoil_events::backbone::{Backbone, HeadsReader};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::Committed;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast::{self, error::RecvError};

/// A hint costs a scan of the heads, and the commits of this process send some too: not more often than this.
const HINT_PAUSE: Duration = Duration::from_millis(10);

/// Where news comes from.
pub struct NewsSources {
    /// Scans of the chain heads.
    pub heads: HeadsReader,
    /// Commits of this process.
    pub notices: broadcast::Receiver<Committed>,
    /// Other processes' hints, with the number of partitions; none: the scans must do.
    pub hints: Option<(Backbone, u32)>,
}

/// Tells `tell` of news for as long as it is polled; the same may be told more than once.
pub(crate) async fn follow(sources: NewsSources, tell: impl Fn(&[(TenantId, Position)])) {
    let NewsSources {
        mut heads,
        mut notices,
        hints,
    } = sources;
    let mut hints = hints_of(hints).await;
    let mut hinted = tokio::time::Instant::now();
    let mut commits = true;
    loop {
        tokio::select! {
            notice = notices.recv(), if commits => match notice {
                Ok(notice) => tell(&drain(notice, &mut notices)),
                Err(RecvError::Lagged(_)) => heads.scan_now(),
                // The sequencer has gone; the scans go on.
                Err(RecvError::Closed) => commits = false,
            },
            scan = heads.next() => {
                let news: Vec<_> = scan.by_tenant.values().map(|head| (head.tenant, head.head.position)).collect();
                tell(&news);
            }
            Some(()) = hints.next() => if hinted.elapsed() >= HINT_PAUSE {
                hinted = tokio::time::Instant::now();
                heads.scan_now();
            },
        }
    }
}

fn drain(first: Committed, notices: &mut broadcast::Receiver<Committed>) -> Vec<(TenantId, Position)> {
    let mut news = vec![(first.tenant, first.position)];
    while let Ok(notice) = notices.try_recv() {
        news.push((notice.tenant, notice.position));
    }
    news
}

async fn hints_of(hints: Option<(Backbone, u32)>) -> BoxStream<'static, ()> {
    let Some((backbone, partitions)) = hints else {
        return stream::pending().boxed();
    };
    let mut all = Vec::new();
    for partition in 0..partitions {
        match backbone
            .client()
            .subscribe(backbone.prefix().wake(partition))
            .await
        {
            Ok(hints) => all.push(hints.map(|_| ())),
            Err(error) => tracing::warn!(%error, "wake-up hints cannot be subscribed to; the scans must do"),
        }
    }
    stream::select_all(all).chain(stream::pending()).boxed()
}
