//! Which logs there have to be: those with a head, those that hold events, and those whose creation the platform log
//! records. A log that is missing from one of them is a finding.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use counterfoil_events::ids::{EventHash, Position, TenantId};
use counterfoil_events::timestamp::Timestamp;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::error::AuditError;
use super::rows::bytes;

const HEADS: &str = "SELECT tenant_id, partition, position, hash, recorded_at FROM counterfoil.chain_heads";
/// Walks the primary key from tenant to tenant.
const WITH_EVENTS: &str = "WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM counterfoil.events ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT e.tenant_id FROM counterfoil.events e WHERE e.tenant_id > t.tenant_id ORDER BY e.tenant_id LIMIT 1)
    FROM tenants t WHERE t.tenant_id IS NOT NULL
) SELECT tenant_id FROM tenants WHERE tenant_id IS NOT NULL";
/// On the unique key over aggregate and sequence.
const CREATED: &str = "SELECT aggregate_id FROM counterfoil.events \
                       WHERE tenant_id = $1 AND aggregate = 'tenant' AND sequence = 1";

/// Where a log ends, as its head says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub partition: u32,
    pub position: Position,
    pub hash: EventHash,
    pub recorded_at: Timestamp,
}

/// A log that has to be there.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub tenant: TenantId,
    /// Its head, if there is one.
    pub head: Option<Head>,
}

/// All logs, or the one of `tenant`, the platform's first.
pub(super) async fn logs(pool: &PgPool, tenant: Option<TenantId>) -> Result<Vec<Log>, AuditError> {
    // Heads last: a tenant that is created meanwhile has its head by then.
    let mut logs: BTreeMap<TenantId, Option<Head>> = BTreeMap::new();
    for created in created(pool).await? {
        logs.insert(created, None);
    }
    let with_events: Vec<Uuid> = sqlx::query_scalar(WITH_EVENTS).fetch_all(pool).await?;
    logs.extend(with_events.into_iter().map(|id| (TenantId(id), None)));
    for (tenant, head) in heads(pool).await? {
        logs.insert(tenant, Some(head));
    }
    if let Some(tenant) = tenant {
        let head = logs.remove(&tenant).ok_or(AuditError::NoTenant(tenant))?;
        return Ok(vec![Log { tenant, head }]);
    }
    Ok(logs
        .into_iter()
        .map(|(tenant, head)| Log { tenant, head })
        .collect())
}

async fn created(pool: &PgPool) -> Result<Vec<TenantId>, sqlx::Error> {
    let ids: Vec<String> = sqlx::query_scalar(CREATED)
        .bind(TenantId::PLATFORM.0)
        .fetch_all(pool)
        .await?;
    // What is no id is a finding of the platform log itself (columns_disagree), if somebody altered it.
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

async fn heads(pool: &PgPool) -> Result<Vec<(TenantId, Head)>, sqlx::Error> {
    let rows = sqlx::query(HEADS).fetch_all(pool).await?;
    let head = |row: &sqlx::postgres::PgRow| {
        let head = Head {
            partition: u32::try_from(row.try_get::<i32, _>(1)?).unwrap_or(0),
            position: Position::from_i64(row.try_get(2)?),
            hash: bytes(row, 3, |bytes| EventHash::try_from(bytes))?,
            recorded_at: Timestamp::from(row.try_get::<DateTime<Utc>, _>(4)?),
        };
        Ok((TenantId(row.try_get(0)?), head))
    };
    rows.iter().map(head).collect()
}
