//! The reads of the security state: only what has a say in who may act, of many tenants at once.
//!
//! The first read goes aggregate by aggregate, along the unique key, so that starting on a log of ten million
//! completions costs as much as its agents do. Later ones go by position, along the primary key, and leave out only
//! what is known to have no say: an aggregate that this build does not know arrives, and stops the tail.

use futures::TryStreamExt;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{PgPool, Postgres};
use uuid::Uuid;

use crate::ids::{Position, SubjectLinkId, TenantId};
use crate::issuer::subject::{SubjectHash, SubjectRow, SubjectSalt};
use crate::ledger::{self, CALL_TIMEOUT, StoredEvent, give_back, within};
use crate::security::change::{FOLDED, FoldError, PASSED_OVER};

/// Tenants per statement: each is one or two descents of an index.
pub(super) const TENANTS_PER_READ: usize = 200;

/// In the order of the unique key over aggregate and sequence.
const FIRST: &str = "SELECT e.tenant_id, e.position, e.event_id, e.aggregate, e.aggregate_id, e.sequence, e.type, \
                     e.version, e.recorded_at, e.hash, e.key_id, e.signature, e.envelope \
                     FROM unnest($1::uuid[], $2::bigint[]) AS want (tenant_id, until) \
                     CROSS JOIN unnest($3::text[]) AS kind (aggregate) \
                     CROSS JOIN LATERAL (SELECT * FROM counterfoil.events e \
                        WHERE e.tenant_id = want.tenant_id AND e.aggregate = kind.aggregate \
                          AND e.position <= want.until \
                        ORDER BY e.aggregate_id, e.sequence) e";
/// Which kinds of aggregates a log holds: a descent of the unique key for each kind, however many events there are.
const KINDS: &str = "WITH RECURSIVE kinds (tenant_id, aggregate) AS ( \
                        SELECT want.tenant_id, (SELECT min(e.aggregate) FROM counterfoil.events e \
                                                WHERE e.tenant_id = want.tenant_id) \
                        FROM unnest($1::uuid[]) AS want (tenant_id) \
                        UNION ALL \
                        SELECT k.tenant_id, (SELECT min(e.aggregate) FROM counterfoil.events e \
                                             WHERE e.tenant_id = k.tenant_id AND e.aggregate > k.aggregate) \
                        FROM kinds k WHERE k.aggregate IS NOT NULL) \
                     SELECT DISTINCT aggregate FROM kinds WHERE aggregate IS NOT NULL";
/// On the primary key.
const AFTER: &str = "SELECT e.tenant_id, e.position, e.event_id, e.aggregate, e.aggregate_id, e.sequence, e.type, \
                     e.version, e.recorded_at, e.hash, e.key_id, e.signature, e.envelope \
                     FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS want (tenant_id, after, until) \
                     CROSS JOIN LATERAL (SELECT * FROM counterfoil.events e \
                        WHERE e.tenant_id = want.tenant_id AND e.position > want.after AND e.position <= want.until \
                          AND e.aggregate <> ALL ($4) \
                        ORDER BY e.position) e";

/// On the primary key.
const SUBJECTS: &str = "SELECT s.link, s.hash, s.salt \
                        FROM unnest($1::uuid[], $2::uuid[]) AS want (tenant_id, link) \
                        JOIN counterfoil.subjects s ON s.tenant_id = want.tenant_id AND s.link = want.link";

/// Why the feed ended.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Postgres does not answer: try again.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// There is something that this build cannot fold: never again.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// A part of a tenant's log: after `after`, up to and with `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) tenant: TenantId,
    pub(super) after: Position,
    pub(super) until: Position,
}

/// Checks that the build knows every kind of aggregate in these logs.
pub(super) async fn check_kinds(pool: &PgPool, ranges: &[Range]) -> Result<(), FeedError> {
    let kinds: Vec<(String,)> = ledger::all(pool, sqlx::query_as(KINDS).bind(tenants(ranges))).await?;
    let unknown = kinds
        .into_iter()
        .find(|(kind,)| !FOLDED.contains(&kind.as_str()) && !PASSED_OVER.contains(&kind.as_str()));
    match unknown {
        Some((kind,)) => Err(FoldError::UnknownAggregate(kind).into()),
        None => Ok(()),
    }
}

/// Hands over the events of whole logs (`after` is zero), aggregate by aggregate.
pub(super) async fn read_first(
    pool: &PgPool,
    ranges: &[Range],
    take: impl FnMut(StoredEvent) -> Result<(), FoldError>,
) -> Result<(), FeedError> {
    let first = sqlx::query_as(FIRST)
        .bind(tenants(ranges))
        .bind(positions(ranges, |range| range.until))
        .bind(FOLDED.map(str::to_owned).to_vec());
    each(pool, first, take).await
}

/// Hands over the events of parts of logs, by position.
pub(super) async fn read_after(
    pool: &PgPool,
    ranges: &[Range],
    take: impl FnMut(StoredEvent) -> Result<(), FoldError>,
) -> Result<(), FeedError> {
    let after = sqlx::query_as(AFTER)
        .bind(tenants(ranges))
        .bind(positions(ranges, |range| range.after))
        .bind(positions(ranges, |range| range.until))
        .bind(PASSED_OVER.map(str::to_owned).to_vec());
    each(pool, after, take).await
}

/// Row by row: a log may be larger than memory. Each wait for the server has the time limit of a call.
async fn each(
    pool: &PgPool,
    query: QueryAs<'_, Postgres, StoredEvent, PgArguments>,
    mut take: impl FnMut(StoredEvent) -> Result<(), FoldError>,
) -> Result<(), FeedError> {
    let mut connection = pool.acquire().await?;
    let mut rows = query.fetch(&mut *connection);
    let fed = loop {
        match within(CALL_TIMEOUT, rows.try_next()).await {
            Ok(Some(event)) => match take(event) {
                Ok(()) => {}
                Err(error) => break Err(error.into()),
            },
            Ok(None) => break Ok(()),
            Err(error) => break Err(FeedError::Postgres(error)),
        }
    };
    drop(rows);
    // One that was left in the middle of an answer is of no use to the next.
    match fed {
        Ok(()) => give_back(connection, &Ok(())),
        Err(_) => ledger::close(connection),
    }
    fed
}

/// The rows of these links, which lie beside the log; one that was erased is not among them.
pub(super) async fn read_subjects(
    pool: &PgPool,
    links: &[(TenantId, SubjectLinkId)],
) -> Result<Vec<SubjectRow>, sqlx::Error> {
    let query = sqlx::query_as::<_, (Uuid, [u8; 32], [u8; 32])>(SUBJECTS)
        .bind(links.iter().map(|(tenant, _)| tenant.0).collect::<Vec<_>>())
        .bind(links.iter().map(|(_, link)| link.0).collect::<Vec<_>>());
    let rows = ledger::all(pool, query).await?;
    let row = |(link, hash, salt)| SubjectRow {
        link: SubjectLinkId(link),
        hash: SubjectHash(hash),
        salt: SubjectSalt(salt),
    };
    Ok(rows.into_iter().map(row).collect())
}

fn tenants(ranges: &[Range]) -> Vec<Uuid> {
    ranges.iter().map(|range| range.tenant.0).collect()
}

fn positions(ranges: &[Range], end: impl Fn(&Range) -> Position) -> Vec<i64> {
    ranges.iter().map(|range| end(range).as_i64()).collect()
}
