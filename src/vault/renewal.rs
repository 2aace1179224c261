//! The task that renews organisations' keys before they end, so that no call waits for the KMS, wipes those that are
//! over, and looks whether the KMS is there.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::background::{Background, Heartbeat};

use super::kms::watched::WatchedKms;
use super::secrets::Secrets;

/// How often it looks: an expired key is wiped this much later at the latest, and a KMS that came back is noticed.
const INTERVAL: Duration = Duration::from_secs(5);

/// Starts to renew them. Should it end, keys end by themselves.
pub fn renew_in_time(secrets: Arc<Secrets>, kms: Arc<WatchedKms>) -> Background {
    Background::start("data-keys", |heartbeat| async move {
        renew(&secrets, &kms, &heartbeat).await;
    })
}

async fn renew(secrets: &Secrets, kms: &WatchedKms, heartbeat: &Heartbeat) {
    loop {
        heartbeat.during(tokio::time::sleep(INTERVAL)).await;
        // As long as the KMS takes, within its own limits.
        heartbeat.during(secrets.vault().keys().renew()).await;
        heartbeat.during(kms.look()).await;
    }
}
