//! `audit reconcile`: Postgres and JetStream held against each other, whole, and what one of them lost put back.
//!
//! The work is `counterfoil_events::backbone::reconcile`; here it gets its connection and the keys it may believe.

use std::time::Duration;

use counterfoil_events::backbone::reconcile::{
    ReconcileError, Reconciliation, Repair, RepairParts, examine, repair,
};
use counterfoil_events::backbone::{Backbone, BackboneError};
use counterfoil_events::ids::Fingerprint;
use counterfoil_events::ledger::{Database, LogReader};
use serde::Serialize;

use super::error::AuditError;
use super::keys::Keys;
use super::summary::Progress;

/// How long to wait for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Reconciles the copies of every log.
pub struct Reconcile {
    /// The ledger.
    pub database: Database,
    /// The streams.
    pub backbone: Backbone,
    /// How many partitions are configured.
    pub partitions: u32,
    /// The first key's fingerprint; without it the platform log's own word is taken.
    pub root: Option<Fingerprint>,
}

/// What was found, and what was done about it.
#[derive(Debug, Serialize)]
pub struct Reconciled {
    /// As it was.
    pub found: Reconciliation,
    /// What was repaired, if that was asked for and needed.
    pub repair: Option<Repair>,
    /// As it is after that.
    pub now: Option<Reconciliation>,
}

impl Reconciled {
    /// Whether all copies agree now, and nothing is in quarantine.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.now.as_ref().unwrap_or(&self.found).is_clean()
    }
}

impl Reconcile {
    /// Compares, and repairs if asked to.
    ///
    /// # Errors
    /// When Postgres or NATS do not answer.
    pub async fn run(self, mend: bool, progress: &dyn Progress) -> Result<Reconciled, AuditError> {
        if !self.backbone.connected(CONNECT_TIMEOUT).await {
            let seconds = CONNECT_TIMEOUT.as_secs();
            return Err(BackboneError::Nats(format!("no connection within {seconds} s")).into());
        }
        let log = LogReader::new(self.database.log().clone());
        let advance = |messages| progress.advance(messages);
        let found = examine(&self.backbone, &log, self.partitions, &advance)
            .await
            .map_err(failed)?;
        if !mend || found.is_clean() {
            return Ok(Reconciled {
                found,
                repair: None,
                now: None,
            });
        }
        let keys = Keys::from_postgres(self.database.log(), self.root).await?;
        let parts = RepairParts {
            backbone: self.backbone.clone(),
            database: self.database,
            keys: keys.trusted,
            partitions: self.partitions,
        };
        let repair = repair(parts, &found).await.map_err(failed)?;
        let now = examine(&self.backbone, &log, self.partitions, &advance)
            .await
            .map_err(failed)?;
        Ok(Reconciled {
            found,
            repair: Some(repair),
            now: Some(now),
        })
    }
}

fn failed(error: ReconcileError) -> AuditError {
    match error {
        ReconcileError::Postgres(error) => error.into(),
        ReconcileError::Backbone(error) => error.into(),
        filling @ ReconcileError::StillFilling { .. } => BackboneError::Nats(filling.to_string()).into(),
    }
}
