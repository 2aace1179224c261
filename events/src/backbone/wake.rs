//! Telling the relays of other processes that something was committed: a hint on core NATS, which may be lost.
//! Whoever gets one scans the heads; nothing in it is trusted, so it carries nothing.

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::backbone::connection::Backbone;
use crate::backbone::heads::HeadsReader;
use crate::background::{Background, Heartbeat};
use crate::ledger::Committed;

/// Starts to send a hint for each commit of this process that `notices` tell of.
pub fn send_wake_ups(
    backbone: Backbone,
    notices: broadcast::Receiver<Committed>,
    heads: HeadsReader,
) -> Background {
    Background::start("wake-ups", |heartbeat| send(backbone, notices, heads, heartbeat))
}

async fn send(
    backbone: Backbone,
    mut notices: broadcast::Receiver<Committed>,
    heads: HeadsReader,
    heartbeat: Heartbeat,
) {
    let link = backbone.link();
    loop {
        let mut partitions = std::collections::BTreeSet::new();
        match heartbeat.during(notices.recv()).await {
            Ok(notice) => partitions.extend(heads.partition_of(notice.tenant)),
            Err(RecvError::Lagged(_)) => {}
            // Nothing commits here any more: there is nothing to tell.
            Err(RecvError::Closed) => return heartbeat.during(std::future::pending()).await,
        }
        while let Ok(notice) = notices.try_recv() {
            partitions.extend(heads.partition_of(notice.tenant));
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
