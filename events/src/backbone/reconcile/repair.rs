//! Repairing, in the order of `reconcile`'s opening.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::backbone::reconcile::ReconcileError;
use crate::backbone::reconcile::examine::examine;
use crate::backbone::reconcile::report::{Reconciliation, Repair, TenantReport};
use crate::backbone::reconcile::restore::Restoration;
use crate::backbone::{Backbone, BackboneStatus, HeadWatch, RelayOptions, RelayParts, derive, relay};
use crate::ids::{Position, TenantId};
use crate::keyring::TrustedKeys;
use crate::ledger::{Database, Head, LogReader};
use crate::verify::LossPart;

/// How long a stream may take to fill before we leave it to the relay: 50 million events at the slowest.
const REFILL_TIMEOUT: Duration = Duration::from_secs(3600);
const REFILL_POLL: Duration = Duration::from_millis(500);

const RESTORE_HEAD: &str = "SELECT counterfoil.restore_head($1, $2)";
/// On the primary key.
const COUNT: &str = "SELECT count(*) FROM counterfoil.events WHERE tenant_id = $1";

/// What repairing works with.
pub struct RepairParts {
    /// The streams.
    pub backbone: Backbone,
    /// The ledger.
    pub database: Database,
    /// Keys that the platform's log introduces, believed from the first one's fingerprint on.
    pub keys: Arc<TrustedKeys>,
    /// How many partitions are configured.
    pub partitions: u32,
}

struct Repairer {
    backbone: Backbone,
    database: Database,
    pool: PgPool,
    log: LogReader,
    keys: Arc<TrustedKeys>,
    partitions: u32,
    done: Repair,
}

/// Repairs what `found` says, as far as it can be.
///
/// # Errors
/// When Postgres or NATS do not answer; what was repaired until then stays, and the next call goes on.
pub async fn repair(parts: RepairParts, found: &Reconciliation) -> Result<Repair, ReconcileError> {
    let pool = parts.database.log().clone();
    let mut repairer = Repairer {
        log: LogReader::new(pool.clone()),
        backbone: parts.backbone,
        database: parts.database,
        pool,
        keys: parts.keys,
        partitions: parts.partitions,
        done: Repair::default(),
    };
    repairer.restore(found).await?;
    let found = examine(&repairer.backbone, &repairer.log, repairer.partitions, &|_| {}).await?;
    // Before the refill: the relay does not publish what is in quarantine.
    repairer.release(&found).await?;
    repairer.refill(&found).await?;
    Ok(repairer.done)
}

impl Repairer {
    /// Step 1. The platform sorts first: its id is all zeros.
    async fn restore(&mut self, found: &Reconciliation) -> Result<(), ReconcileError> {
        let mut behind: BTreeMap<TenantId, u32> = BTreeMap::new();
        for partition in &found.partitions {
            let lost = |tenant: &&TenantReport| {
                let in_ledger = &tenant.missing_in_ledger;
                in_ledger.iter().any(|gap| gap.part == LossPart::Tail)
            };
            let tenants = partition.tenants.iter().filter(lost);
            behind.extend(tenants.map(|tenant| (tenant.tenant, partition.partition)));
        }
        for (tenant, partition) in behind {
            let Some(head) = self.head(tenant, partition).await? else {
                continue;
            };
            let restoration = Restoration {
                backbone: &self.backbone,
                pool: &self.pool,
                log: &self.log,
                tenant,
                partition,
            };
            let restored = restoration.run(head, &mut self.keys).await?;
            self.done.restored.push(restored);
        }
        Ok(())
    }

    /// A tenant's head; made, if the platform's log creates the tenant.
    async fn head(&mut self, tenant: TenantId, partition: u32) -> Result<Option<Head>, sqlx::Error> {
        if let Some(head) = self.log.head(tenant).await? {
            return Ok(Some(head.head));
        }
        let made = sqlx::query(RESTORE_HEAD)
            .bind(tenant.0)
            .bind(i32::try_from(partition).unwrap_or(i32::MAX))
            .execute(&self.pool)
            .await;
        match made {
            Ok(_) => Ok(self.log.head(tenant).await?.map(|head| head.head)),
            Err(sqlx::Error::Database(refused)) => {
                self.done.left.push((tenant, refused.message().to_owned()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Step 2.
    async fn release(&mut self, found: &Reconciliation) -> Result<(), ReconcileError> {
        for tenant in found.partitions.iter().flat_map(|partition| &partition.tenants) {
            if tenant.quarantine.is_none()
                && tenant.missing_in_ledger.is_empty()
                && tenant.different_events == 0
            {
                continue;
            }
            match self.obstacle(tenant).await? {
                Some(obstacle) => self.done.left.push((tenant.tenant, obstacle)),
                None => {
                    self.log.set_quarantine(tenant.tenant, None).await?;
                    self.done.released.push(tenant.tenant);
                }
            }
        }
        Ok(())
    }

    /// What keeps a tenant in quarantine.
    async fn obstacle(&self, tenant: &TenantReport) -> Result<Option<String>, sqlx::Error> {
        if let Some(position) = tenant.first_different {
            let before = Position(position.0.saturating_sub(1));
            let ours = self.log.page(tenant.tenant, before, position, 1).await?;
            if ours.iter().any(|event| !event.recorded.has_its_hash()) {
                return Ok(Some(format!(
                    "the event at position {position} in Postgres is not what was hashed and signed: it was altered there, and \
                     the stream holds another. Keep the stream as it is; `counterfoil audit verify --source jetstream` says \
                     whether it is whole. Find out who altered Postgres, and restore it from a backup"
                )));
            }
            return Ok(Some(format!(
                "from position {position} on, Postgres and the stream hold different events, each signed: the log was \
                 continued after older data was restored. Decide which history holds; restore the backup again and \
                 repair before anything is appended, or delete the stream to keep what Postgres has"
            )));
        }
        if let Some(gap) = tenant.missing_in_ledger.first() {
            return Ok(Some(format!(
                "Postgres lacks positions {} to {}, and nothing is put back between events that are there: keep the \
                 stream, which has them, and restore Postgres from a backup",
                gap.first, gap.last
            )));
        }
        let held: i64 = sqlx::query_scalar(COUNT)
            .bind(tenant.tenant.0)
            .fetch_one(&self.pool)
            .await?;
        let head = tenant.ledger_head.unwrap_or_default();
        Ok((held != head.as_i64())
            .then(|| format!("Postgres holds {held} events below position {head}: restore it from a backup")))
    }

    /// Step 3.
    async fn refill(&mut self, found: &Reconciliation) -> Result<(), ReconcileError> {
        for partition in &found.partitions {
            if !partition.needs_refill() {
                if partition.lacks_its_end() {
                    self.fill(partition.partition).await?;
                }
                continue;
            }
            let only_here = partition
                .tenants
                .iter()
                .find(|tenant| !tenant.missing_in_ledger.is_empty() || tenant.different_events > 0);
            if let Some(tenant) = only_here {
                let reason = format!(
                    "the stream of partition {} is damaged, but holds events that Postgres lacks: it is not made anew",
                    partition.partition
                );
                self.done.left.push((tenant.tenant, reason));
                continue;
            }
            tracing::info!(partition = partition.partition, "making the stream anew");
            self.backbone.remake_stream(partition.partition).await?;
            self.fill(partition.partition).await?;
            self.done.refilled.push(partition.partition);
        }
        Ok(())
    }

    /// Fills a stream to its end, unless the relay of a running process leads: then waits until that has.
    async fn fill(&self, partition: u32) -> Result<(), ReconcileError> {
        let heads = HeadWatch::start(self.log.clone(), REFILL_POLL);
        let (notices, _none) = tokio::sync::broadcast::channel(1);
        let parts = RelayParts {
            backbone: self.backbone.clone(),
            database: self.database.clone(),
            heads: heads.reader(),
            notices: notices.subscribe(),
            status: BackboneStatus::default(),
        };
        let running = relay(partition, parts, RelayOptions::default());
        let filled = self.wait_until_filled(partition).await;
        running.stop().await;
        heads.stop().await;
        filled
    }

    async fn wait_until_filled(&self, partition: u32) -> Result<(), ReconcileError> {
        let target = self.log.heads().await?;
        let ours = target
            .iter()
            .filter(|head| head.partition == partition && head.quarantine_reason.is_none());
        let target: Vec<(TenantId, Position)> = ours.map(|head| (head.tenant, head.head.position)).collect();
        let began = Instant::now();
        loop {
            let stream = self.backbone.ensure_stream(partition).await?;
            let cursor = derive(&self.backbone, &stream).await?;
            let mut behind = 0;
            for (tenant, head) in &target {
                let reached = cursor.published(&self.log, *tenant).await?;
                behind += head.0.saturating_sub(reached.0);
            }
            match behind {
                0 => return Ok(()),
                lag_events if began.elapsed() > REFILL_TIMEOUT => {
                    return Err(ReconcileError::StillFilling {
                        partition,
                        lag_events,
                    });
                }
                _ => tokio::time::sleep(REFILL_POLL).await,
            }
        }
    }
}
