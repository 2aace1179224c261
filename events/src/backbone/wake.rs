//! Telling the relays of other processes that something was committed: a hint on core NATS, which may be lost.
//! Whoever gets one scans the heads; nothing in it is trusted, so it carries nothing.

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backbone::connection::Backbone;
use crate::backbone::heads::HeadsReader;
use crate::ledger::Committed;

/// The task that sends hints for the commits of this process.
pub struct WakeSender {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl WakeSender {
    /// Starts to send a hint for each commit that `notices` tell of.
    #[must_use]
    pub fn start(backbone: Backbone, notices: broadcast::Receiver<Committed>, heads: HeadsReader) -> Self {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            until.run_until_cancelled(send(backbone, notices, heads)).await;
        });
        Self { stop, task }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the sender of wake-up hints ended badly");
        }
    }
}

async fn send(backbone: Backbone, mut notices: broadcast::Receiver<Committed>, heads: HeadsReader) {
    let link = backbone.link();
    loop {
        let mut partitions = std::collections::BTreeSet::new();
        match notices.recv().await {
            Ok(notice) => partitions.extend(partition_of(&heads, notice)),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        while let Ok(notice) = notices.try_recv() {
            partitions.extend(partition_of(&heads, notice));
        }
        // Without a connection a hint would be kept and sent when it is of no use any more.
        if !link.borrow().up {
            continue;
        }
        for partition in partitions {
            let subject = backbone.prefix().wake(partition);
            if let Err(error) = backbone.client().publish(subject, Bytes::new()).await {
                tracing::debug!(%error, "a wake-up hint was not sent");
            }
        }
    }
}

/// None for a tenant newer than the last scan: the relays' own scans find it.
fn partition_of(heads: &HeadsReader, notice: Committed) -> Option<u32> {
    Some(heads.latest()?.by_tenant.get(&notice.tenant)?.partition)
}
