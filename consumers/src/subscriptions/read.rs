//! Reading a log for subscribers: as `counterfoil_app`, within the tenant's scope, so that row-level security stands
//! between a subscriber and every other tenant.

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::Database;

use super::choice::Choice;
use super::item::Item;

/// How far one statement looks for events that are wanted: it must stay well below the statement timeout, however
/// few of them are.
const STRETCH: u64 = 20_000;

const HEAD: &str = "SELECT position FROM counterfoil.chain_heads WHERE tenant_id = $1";
/// A stretch of the primary key.
const CHOSEN: &str = "SELECT position, type, aggregate, aggregate_id, hash, key_id, signature, envelope \
                      FROM counterfoil.events WHERE tenant_id = $1 AND position > $2 AND position <= $3 \
                      AND ($4::text[] IS NULL OR type = ANY ($4)) AND ($5::text IS NULL OR aggregate = $5) \
                      AND ($6::text IS NULL OR aggregate_id = $6) ORDER BY position LIMIT $7";

/// A part of a log: the wanted events in it, and where it ends.
#[derive(Debug)]
pub struct Stretch {
    /// In position order.
    pub items: Vec<Item>,
    /// Everything up to and with this position has been looked at.
    pub through: Position,
}

/// The last position of a tenant's log; none if there is no such tenant.
///
/// # Errors
/// When Postgres does not answer.
pub async fn head(database: &Database, tenant: TenantId) -> Result<Option<Position>, sqlx::Error> {
    let mut transaction = database.tenant(tenant).await?;
    let position: Option<i64> = sqlx::query_scalar(HEAD)
        .bind(tenant.0)
        .fetch_optional(transaction.connection())
        .await?;
    Ok(position.map(Position::from_i64))
}

/// At most `limit` wanted events after `after`, not beyond `until`, in one bounded statement: there may be more even
/// where there are none in this stretch.
///
/// # Errors
/// When Postgres does not answer.
pub async fn stretch(
    database: &Database,
    tenant: TenantId,
    (after, until): (Position, Position),
    choice: &Choice,
    limit: usize,
) -> Result<Stretch, sqlx::Error> {
    let end = Position(after.0.saturating_add(STRETCH).min(until.0).max(after.0));
    let mut transaction = database.tenant(tenant).await?;
    let items: Vec<Item> = sqlx::query_as(CHOSEN)
        .bind(tenant.0)
        .bind(after.as_i64())
        .bind(end.as_i64())
        .bind(choice.types_wanted())
        .bind(choice.aggregate.as_deref())
        .bind(choice.aggregate_id.as_deref())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(transaction.connection())
        .await?;
    let full = items.len() >= limit;
    let through = items.last().filter(|_| full).map_or(end, Item::position);
    Ok(Stretch { items, through })
}
