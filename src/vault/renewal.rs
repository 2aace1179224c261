//! The task that renews organisations' keys before they end, so that no call waits for the KMS, wipes those that are
//! over, and looks whether the KMS is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::kms::watched::WatchedKms;
use super::secrets::Secrets;

/// How often it looks: an expired key is wiped this much later at the latest, and a KMS that came back is noticed.
const INTERVAL: Duration = Duration::from_secs(5);

/// The task.
pub struct Renewal {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Renewal {
    /// Starts it.
    #[must_use]
    pub fn start(secrets: Arc<Secrets>, kms: Arc<WatchedKms>) -> Self {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            until.run_until_cancelled(renew(&secrets, &kms)).await;
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

async fn renew(secrets: &Secrets, kms: &WatchedKms) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        secrets.vault().keys().renew().await;
        kms.look().await;
    }
}
