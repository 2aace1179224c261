//! The task that renews organisations' keys before they end, so that no call waits for the KMS, and wipes those that are
//! over.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::secrets::Secrets;

/// How often it looks: an expired key is wiped this much later at the latest.
const INTERVAL: Duration = Duration::from_secs(10);

/// The task.
pub struct Renewal {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Renewal {
    /// Starts it; without a KMS it has nothing to do.
    #[must_use]
    pub fn start(secrets: Arc<Secrets>) -> Self {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            until.run_until_cancelled(renew(&secrets)).await;
        });
        Self { stop, task }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.cancel();
        // A panic in it is in the log already; keys then end by themselves.
        let _ = self.task.await;
    }
}

async fn renew(secrets: &Secrets) {
    let Ok(vault) = secrets.vault() else {
        return;
    };
    loop {
        tokio::time::sleep(INTERVAL).await;
        vault.keys().renew().await;
    }
}
