//! The one scan of `chain_heads` in a process: every 250 ms, shared by whoever follows the log.
//!
//! Commit notices and wake-up hints are faster, but may be lost; this is what nothing escapes. A scan's result
//! carries the moment at which it began: whoever has applied all of it knew everything committed before that moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::background::{Background, Heartbeat};
use crate::ids::TenantId;
use crate::ledger::{ChainHead, LogReader};
use crate::timestamp::Timestamp;

/// What Postgres's clock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTime {
    /// The time.
    pub time: Timestamp,
    /// When it was asked: before it looked at its clock.
    pub asked: Instant,
}

/// What one scan saw.
#[derive(Debug, Clone)]
pub struct Heads {
    /// When the scan began.
    pub read_at: Instant,
    /// What Postgres's clock said with it.
    pub server_time: ServerTime,
    /// Every tenant's head.
    pub by_tenant: HashMap<TenantId, ChainHead>,
}

/// Follows the scans. Cheap to clone.
#[derive(Clone)]
pub struct HeadsReader {
    heads: watch::Receiver<Option<Arc<Heads>>>,
    ask: Arc<Notify>,
}

/// The loop that scans, and what follows it.
pub struct HeadWatch {
    reader: HeadsReader,
    scans: Background,
}

impl HeadWatch {
    /// Starts to scan through `log`, once per `interval` and whenever asked.
    #[must_use]
    pub fn start(log: LogReader, interval: Duration) -> Self {
        let (sender, heads) = watch::channel(None);
        let reader = HeadsReader {
            heads,
            ask: Arc::new(Notify::new()),
        };
        let ask = Arc::clone(&reader.ask);
        let scans = Background::start("heads", |beat| async move {
            scan(log, interval, &ask, &sender, &beat).await;
        });
        Self { reader, scans }
    }

    /// Its heartbeat.
    #[must_use]
    pub fn heartbeat(&self) -> &Heartbeat {
        self.scans.heartbeat()
    }

    /// What follows the scans.
    #[must_use]
    pub fn reader(&self) -> HeadsReader {
        self.reader.clone()
    }

    /// Ends the scans.
    pub async fn stop(self) {
        self.scans.stop().await;
    }
}

/// Between two scans at least: however many ask, they are answered together.
const PAUSE: Duration = Duration::from_millis(10);

async fn scan(
    log: LogReader,
    interval: Duration,
    ask: &Notify,
    heads: &watch::Sender<Option<Arc<Heads>>>,
    heartbeat: &Heartbeat,
) {
    let mut away = false;
    loop {
        heartbeat.beat();
        match look(&log).await {
            Ok(found) => {
                away = false;
                heads.send_replace(Some(Arc::new(found)));
            }
            Err(error) if away => tracing::debug!(%error, "chain heads cannot be read"),
            Err(error) => {
                away = true;
                tracing::warn!(%error, "chain heads cannot be read; what follows the log lags until they can");
            }
        }
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            () = heartbeat.during(tokio::time::sleep(interval.saturating_sub(PAUSE))) => {}
            () = ask.notified() => {}
        }
    }
}

async fn look(log: &LogReader) -> Result<Heads, sqlx::Error> {
    let read_at = Instant::now();
    let heads = log.heads().await?;
    let asked = Instant::now();
    let time = log.now().await?;
    Ok(Heads {
        read_at,
        server_time: ServerTime { time, asked },
        by_tenant: heads.into_iter().map(|head| (head.tenant, head)).collect(),
    })
}

impl HeadsReader {
    /// Which partition carries a tenant; none for one that is newer than the last scan.
    #[must_use]
    pub fn partition_of(&self, tenant: TenantId) -> Option<u32> {
        Some(self.latest()?.by_tenant.get(&tenant)?.partition)
    }

    /// The latest scan, if there was one.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Heads>> {
        self.heads.borrow().clone()
    }

    /// The next scan that this reader has not seen. Never returns once the scans have ended.
    pub async fn next(&mut self) -> Arc<Heads> {
        loop {
            if self.heads.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let latest = self.heads.borrow_and_update().clone();
            if let Some(heads) = latest {
                return heads;
            }
        }
    }

    /// The result of a scan that began after this call.
    pub async fn fresh(&mut self) -> Arc<Heads> {
        let asked = Instant::now();
        loop {
            self.scan_now();
            let heads = self.next().await;
            if heads.read_at >= asked {
                return heads;
            }
        }
    }

    /// Asks for a scan at once, for a tenant that the latest one does not know.
    pub fn scan_now(&self) {
        self.ask.notify_one();
    }
}
