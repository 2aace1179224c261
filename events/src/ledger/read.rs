//! Reading the log across tenants, in position order, by pages. Every call has a time limit of its own (`call`): Postgres
//! may go away without a word, and whoever waits for it holds a connection.

use std::collections::HashMap;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, Row};
use uuid::Uuid;

use crate::document::Document;
use crate::envelope::{Receipt, RecordedEvent};
use crate::ids::{DocumentDigest, EventHash, EventId, KeyId, Position, Sequence, TenantId};
use crate::ledger::call::{self, CALL_TIMEOUT, within};
use crate::ledger::place::Head;
use crate::ledger::request::{IdempotencyClaim, KeyLookup};
use crate::signature::Signature;
use crate::timestamp::Timestamp;

const HEADS: &str = "SELECT tenant_id, partition, position, hash, fence, recorded_at, quarantine_reason \
                     FROM counterfoil.chain_heads ORDER BY tenant_id";
const HEAD: &str = "SELECT tenant_id, partition, position, hash, fence, recorded_at, quarantine_reason \
                    FROM counterfoil.chain_heads WHERE tenant_id = $1";
/// On the primary key.
const PAGE: &str = "SELECT tenant_id, position, event_id, aggregate, aggregate_id, sequence, type, version, recorded_at, \
                    hash, key_id, signature, envelope FROM counterfoil.events \
                    WHERE tenant_id = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";
/// On the partial index `kri_run_events`; a parameter in place of the literal could not use it.
const KRI_RUNS: &str = "SELECT tenant_id, position, event_id, aggregate, aggregate_id, sequence, type, version, recorded_at, \
                        hash, key_id, signature, envelope FROM counterfoil.events \
                        WHERE tenant_id = $1 AND aggregate = 'kri_run' AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";
/// On the unique key over aggregate and sequence.
const AGGREGATE: &str = "SELECT tenant_id, position, event_id, aggregate, aggregate_id, sequence, type, version, recorded_at, \
                         hash, key_id, signature, envelope FROM counterfoil.events \
                         WHERE tenant_id = $1 AND aggregate = $2 AND aggregate_id = $3 AND sequence > $4 ORDER BY sequence";
const DOCUMENT: &str = "SELECT body FROM counterfoil.documents WHERE tenant_id = $1 AND digest = $2";
const KEY: &str = "SELECT fingerprint, first_position, event_count FROM counterfoil.idempotency \
                   WHERE tenant_id = $1 AND key_hash = $2 AND created_at > now() - interval '24 hours'";
/// recorded_at never decreases along a log, so the last position not after a time is found by halving: some twenty
/// steps of the primary key for a million events. A position that is missing (damage) is as old as the one before.
const AS_OF: &str = "WITH RECURSIVE search (low, high) AS ( \
                         SELECT 0::bigint, (SELECT max(position) FROM counterfoil.events WHERE tenant_id = $1) \
                         UNION ALL \
                         SELECT CASE WHEN step.not_after THEN step.middle ELSE search.low END, \
                                CASE WHEN step.not_after THEN search.high ELSE step.middle - 1 END \
                         FROM search CROSS JOIN LATERAL ( \
                             SELECT halved.middle, coalesce(( \
                                 SELECT e.recorded_at <= $2 FROM counterfoil.events e \
                                 WHERE e.tenant_id = $1 AND e.position <= halved.middle \
                                 ORDER BY e.position DESC LIMIT 1), true) AS not_after \
                             FROM (SELECT (search.low + search.high + 1) / 2 AS middle) AS halved \
                         ) AS step \
                         WHERE search.low < search.high \
                     ) \
                     SELECT max(e.position) FROM counterfoil.events e \
                     WHERE e.tenant_id = $1 AND e.position <= (SELECT low FROM search WHERE low >= high)";

/// On the primary key.
const HASHES_AT: &str = "SELECT e.tenant_id, e.position, e.hash \
                         FROM unnest($1::uuid[], $2::bigint[]) AS at (tenant_id, position) \
                         JOIN counterfoil.events e ON e.tenant_id = at.tenant_id AND e.position = at.position";
/// On the primary key.
const ENVELOPES_AT: &str = "SELECT e.tenant_id, e.position, e.envelope \
                            FROM unnest($1::uuid[], $2::bigint[]) AS at (tenant_id, position) \
                            JOIN counterfoil.events e ON e.tenant_id = at.tenant_id AND e.position = at.position";
/// On the primary key.
const RECORDED_AT: &str = "SELECT e.tenant_id, e.position, e.recorded_at \
                           FROM unnest($1::uuid[], $2::bigint[]) AS at (tenant_id, position) \
                           JOIN counterfoil.events e ON e.tenant_id = at.tenant_id AND e.position = at.position";
const SET_QUARANTINE: &str = "SELECT counterfoil.set_quarantine($1, $2)";

/// The end of one tenant's log.
#[derive(Debug, Clone)]
pub struct ChainHead {
    /// Whose.
    pub tenant: TenantId,
    /// The backbone partition that carries it.
    pub partition: u32,
    /// Position, hash, fence, time.
    pub head: Head,
    /// Why it takes no appends.
    pub quarantine_reason: Option<String>,
}

/// An event as the table holds it: the envelope's bytes and the columns that repeat parts of them.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The envelope with hash and signature.
    pub recorded: RecordedEvent,
    /// Column.
    pub event_id: EventId,
    /// Column.
    pub aggregate: String,
    /// Column.
    pub aggregate_id: String,
    /// Column.
    pub sequence: Sequence,
    /// Column.
    pub event_type: String,
    /// Column.
    pub version: String,
    /// Column.
    pub recorded_at: Timestamp,
}

impl StoredEvent {
    /// Its receipt.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            tenant: self.recorded.tenant,
            position: self.recorded.position,
            event_id: self.event_id,
            hash: self.recorded.hash,
            key_id: self.recorded.key_id,
            signature: self.recorded.signature,
        }
    }
}

/// Places as two columns of a statement.
fn columns(places: &[(TenantId, Position)]) -> (Vec<Uuid>, Vec<i64>) {
    let columns = |(tenant, position): &(TenantId, Position)| (tenant.0, position.as_i64());
    places.iter().map(columns).unzip()
}

fn decode<T, E: std::error::Error + Send + Sync + 'static>(value: Result<T, E>) -> Result<T, sqlx::Error> {
    value.map_err(|error| sqlx::Error::Decode(error.into()))
}

impl sqlx::FromRow<'_, PgRow> for StoredEvent {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            recorded: RecordedEvent {
                tenant: TenantId(row.try_get(0)?),
                position: Position::from_i64(row.try_get(1)?),
                envelope: row.try_get(12)?,
                hash: decode(EventHash::try_from(row.try_get::<&[u8], _>(9)?))?,
                key_id: decode(KeyId::try_from(row.try_get::<&[u8], _>(10)?))?,
                signature: decode(Signature::try_from(row.try_get::<&[u8], _>(11)?))?,
            },
            event_id: EventId(row.try_get(2)?),
            aggregate: row.try_get(3)?,
            aggregate_id: row.try_get(4)?,
            sequence: Sequence::from_i64(row.try_get(5)?),
            event_type: row.try_get(6)?,
            version: row.try_get(7)?,
            recorded_at: Timestamp::from(row.try_get::<chrono::DateTime<chrono::Utc>, _>(8)?),
        })
    }
}

impl sqlx::FromRow<'_, PgRow> for ChainHead {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant: TenantId(row.try_get(0)?),
            partition: u32::try_from(row.try_get::<i32, _>(1)?).unwrap_or(0),
            head: Head {
                position: Position::from_i64(row.try_get(2)?),
                hash: decode(EventHash::try_from(row.try_get::<&[u8], _>(3)?))?,
                fence: row.try_get(4)?,
                recorded_at: Timestamp::from(row.try_get::<chrono::DateTime<chrono::Utc>, _>(5)?),
            },
            quarantine_reason: row.try_get(6)?,
        })
    }
}

/// Reads any tenant's log, as `counterfoil_log`.
#[derive(Clone)]
pub struct LogReader {
    pool: PgPool,
}

impl LogReader {
    /// On the log's pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// All rows of a query.
    async fn all<R>(&self, query: QueryAs<'_, Postgres, R, PgArguments>) -> Result<Vec<R>, sqlx::Error>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        call::all(&self.pool, query).await
    }

    /// The row of a query that finds one at most.
    async fn one<R>(&self, query: QueryAs<'_, Postgres, R, PgArguments>) -> Result<Option<R>, sqlx::Error>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        call::one(&self.pool, query).await
    }

    /// Every tenant's head, by tenant.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn heads(&self) -> Result<Vec<ChainHead>, sqlx::Error> {
        self.all(sqlx::query_as(HEADS)).await
    }

    /// One tenant's head, if there is such a tenant.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn head(&self, tenant: TenantId) -> Result<Option<ChainHead>, sqlx::Error> {
        self.one(sqlx::query_as(HEAD).bind(tenant.0)).await
    }

    /// At most `limit` events after `after`, up to and with `until`.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn page(
        &self,
        tenant: TenantId,
        after: Position,
        until: Position,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, sqlx::Error> {
        let page = sqlx::query_as(PAGE)
            .bind(tenant.0)
            .bind(after.as_i64())
            .bind(until.as_i64())
            .bind(i64::from(limit));
        self.all(page).await
    }

    /// At most `limit` events of KRI runs after `after`, up to and with `until`.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn kri_runs(
        &self,
        tenant: TenantId,
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, sqlx::Error> {
        let page = sqlx::query_as(KRI_RUNS)
            .bind(tenant.0)
            .bind(after.as_i64())
            .bind(until.as_i64())
            .bind(limit);
        self.all(page).await
    }

    /// Postgres's clock: leases and expiry are measured by no other.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn now(&self) -> Result<Timestamp, sqlx::Error> {
        let now: Option<(chrono::DateTime<chrono::Utc>,)> = self.one(sqlx::query_as("SELECT now()")).await?;
        let (now,) = now.ok_or(sqlx::Error::RowNotFound)?;
        Ok(Timestamp::from(now))
    }

    /// An aggregate's events after `after`, whole: an aggregate's history fits memory by its own rules.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn aggregate(
        &self,
        tenant: TenantId,
        aggregate: &str,
        aggregate_id: &str,
        after: Sequence,
    ) -> Result<Vec<StoredEvent>, sqlx::Error> {
        let events = sqlx::query_as(AGGREGATE)
            .bind(tenant.0)
            .bind(aggregate)
            .bind(aggregate_id)
            .bind(after.as_i64());
        self.all(events).await
    }

    /// A document of a tenant.
    ///
    /// # Errors
    /// When Postgres does not answer, or what it holds is over the limit.
    pub async fn document(
        &self,
        tenant: TenantId,
        digest: DocumentDigest,
    ) -> Result<Option<Document>, sqlx::Error> {
        let document = sqlx::query_as(DOCUMENT).bind(tenant.0).bind(digest.0);
        let found: Option<(String,)> = self.one(document).await?;
        found.map(|(body,)| decode(Document::new(body))).transpose()
    }

    /// The last position of a tenant's log that was recorded not after `at`.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn position_as_of(&self, tenant: TenantId, at: Timestamp) -> Result<Position, sqlx::Error> {
        let last = sqlx::query_as(AS_OF).bind(tenant.0).bind(at.as_datetime());
        let found: Option<(Option<i64>,)> = self.one(last).await?;
        let position = found.and_then(|(position,)| position);
        Ok(Position::from_i64(position.unwrap_or(0)))
    }

    /// What an Idempotency-Key stands for.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn lookup_key(
        &self,
        tenant: TenantId,
        claim: &IdempotencyClaim,
    ) -> Result<KeyLookup, sqlx::Error> {
        let key = sqlx::query_as(KEY).bind(tenant.0).bind(claim.key_hash);
        let kept: Option<(Vec<u8>, i64, i32)> = self.one(key).await?;
        match kept {
            None => Ok(KeyLookup::Free),
            Some((fingerprint, ..)) if fingerprint != claim.fingerprint => Ok(KeyLookup::OtherBody),
            Some((_, first, count)) => {
                let count = u32::try_from(count).unwrap_or(0);
                Ok(KeyLookup::Done(
                    self.receipts(tenant, Position::from_i64(first), count).await?,
                ))
            }
        }
    }

    /// The receipts of `count` events from `first` on.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn receipts(
        &self,
        tenant: TenantId,
        first: Position,
        count: u32,
    ) -> Result<Vec<Receipt>, sqlx::Error> {
        let before = Position(first.0.saturating_sub(1));
        let events = self
            .page(tenant, before, Position(before.0 + u64::from(count)), count)
            .await?;
        Ok(events.iter().map(StoredEvent::receipt).collect())
    }

    /// The hashes at some places of some logs; a place that holds no event is left out.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn hashes_at(
        &self,
        places: &[(TenantId, Position)],
    ) -> Result<HashMap<(TenantId, Position), EventHash>, sqlx::Error> {
        let (tenants, positions) = columns(places);
        let hashes = sqlx::query_as(HASHES_AT).bind(tenants).bind(positions);
        let rows: Vec<(Uuid, i64, Vec<u8>)> = self.all(hashes).await?;
        rows.into_iter()
            .map(|(tenant, position, hash)| {
                let place = (TenantId(tenant), Position::from_i64(position));
                Ok((place, decode(EventHash::try_from(hash.as_slice()))?))
            })
            .collect()
    }

    /// What the bytes at these places hash to, whatever hash is kept beside them; those that are not there are left out.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn content_hashes_at(
        &self,
        places: &[(TenantId, Position)],
    ) -> Result<HashMap<(TenantId, Position), EventHash>, sqlx::Error> {
        let (tenants, positions) = columns(places);
        let envelopes = sqlx::query_as(ENVELOPES_AT).bind(tenants).bind(positions);
        let rows: Vec<(Uuid, i64, String)> = self.all(envelopes).await?;
        let hashes = rows.into_iter().map(|(tenant, position, envelope)| {
            let place = (TenantId(tenant), Position::from_i64(position));
            (place, crate::envelope::hash(envelope.as_bytes()))
        });
        Ok(hashes.collect())
    }

    /// When the events at these places were recorded; those that are not there are left out.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn recorded_at(
        &self,
        places: &[(TenantId, Position)],
    ) -> Result<HashMap<(TenantId, Position), Timestamp>, sqlx::Error> {
        let (tenants, positions) = columns(places);
        let recorded = sqlx::query_as(RECORDED_AT).bind(tenants).bind(positions);
        let rows: Vec<(Uuid, i64, chrono::DateTime<chrono::Utc>)> = self.all(recorded).await?;
        let placed = |(tenant, position, at)| {
            (
                (TenantId(tenant), Position::from_i64(position)),
                Timestamp::from(at),
            )
        };
        Ok(rows.into_iter().map(placed).collect())
    }

    /// Stops a tenant whose copies disagree, or (with none) lets it go on.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn set_quarantine(&self, tenant: TenantId, reason: Option<&str>) -> Result<(), sqlx::Error> {
        let set = sqlx::query(SET_QUARANTINE).bind(tenant.0).bind(reason);
        call::execute(&self.pool, set).await.map(drop)
    }
}

/// One tenant's head, if there is such a tenant, on a connection that is held.
pub(super) async fn read_head(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Option<ChainHead>, sqlx::Error> {
    let head = sqlx::query_as(HEAD).bind(tenant.0).fetch_optional(connection);
    within(CALL_TIMEOUT, head).await
}

#[cfg(test)]
mod tests {
    use cqrs_es::Aggregate;

    use super::*;
    use crate::kri::aggregates::run::KriRun;

    #[test]
    fn the_literal_that_the_index_needs_is_the_aggregates_name() {
        assert!(KRI_RUNS.contains(&format!("aggregate = '{}'", KriRun::TYPE)));
    }
}
