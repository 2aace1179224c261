//! The events of one aggregate after the other, by pages in the order of the index over aggregates.

use std::collections::VecDeque;

use counterfoil_events::envelope;
use counterfoil_events::ids::{EventHash, Position, TenantId};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use super::super::error::AuditError;
use super::super::rows::bytes;

/// Both on the unique key over aggregate and sequence.
const OF_TENANT: &str = "SELECT position, envelope, hash, aggregate, aggregate_id, sequence FROM counterfoil.events \
                         WHERE tenant_id = $1 AND position <= $2 AND (aggregate, aggregate_id, sequence) > ($3, $4, $5) \
                         ORDER BY aggregate, aggregate_id, sequence LIMIT $6";
const OF_AGGREGATE: &str = "SELECT position, envelope, hash, aggregate, aggregate_id, sequence FROM counterfoil.events \
                            WHERE tenant_id = $1 AND position <= $2 AND aggregate = $3 AND aggregate_id = $4 \
                            AND sequence > $5 ORDER BY sequence LIMIT $6";
const PAGE_EVENTS: i64 = 1000;

/// An event that hashes to what stands beside it.
pub(super) struct Held {
    pub position: Position,
    pub envelope: String,
}

struct Fetched {
    held: Held,
    aggregate: (String, String),
}

pub(super) struct Events {
    pool: PgPool,
    tenant: TenantId,
    until: Position,
    statement: &'static str,
    /// Kind, id and sequence of the last row that was fetched.
    after: (String, String, i64),
    waiting: VecDeque<Fetched>,
    ended: bool,
}

impl Events {
    pub fn new(pool: PgPool, tenant: TenantId, until: Position, only: Option<(String, String)>) -> Self {
        let statement = if only.is_some() { OF_AGGREGATE } else { OF_TENANT };
        let (aggregate, id) = only.unwrap_or_default();
        Self {
            pool,
            tenant,
            until,
            statement,
            after: (aggregate, id, 0),
            waiting: VecDeque::new(),
            ended: false,
        }
    }

    /// All events of the next aggregate; nothing at the end.
    pub async fn next_aggregate(&mut self) -> Result<Option<Vec<Held>>, AuditError> {
        let mut events = Vec::new();
        let mut aggregate = None;
        loop {
            if self.waiting.is_empty() && !self.ended {
                self.fetch().await?;
            }
            let goes_on = self
                .waiting
                .front()
                .is_some_and(|next| aggregate.as_ref().is_none_or(|this| *this == next.aggregate));
            let next = if goes_on { self.waiting.pop_front() } else { None };
            let Some(next) = next else {
                return Ok(Some(events).filter(|events| !events.is_empty()));
            };
            aggregate.get_or_insert(next.aggregate);
            events.push(next.held);
        }
    }

    async fn fetch(&mut self) -> Result<(), AuditError> {
        let (aggregate, id, sequence) = &self.after;
        let rows = sqlx::query(self.statement)
            .bind(self.tenant.0)
            .bind(self.until.as_i64())
            .bind(aggregate)
            .bind(id)
            .bind(sequence)
            .bind(PAGE_EVENTS)
            .fetch_all(&self.pool)
            .await?;
        match rows.last() {
            Some(last) => self.after = (last.try_get(3)?, last.try_get(4)?, last.try_get(5)?),
            None => self.ended = true,
        }
        for row in &rows {
            self.waiting.push_back(fetched(row)?);
        }
        Ok(())
    }
}

fn fetched(row: &PgRow) -> Result<Fetched, AuditError> {
    let position = Position::from_i64(row.try_get(0)?);
    let envelope: String = row.try_get(1)?;
    let hash = bytes(row, 2, |bytes| EventHash::try_from(bytes))?;
    if envelope::hash(envelope.as_bytes()) != hash {
        let detail = "its envelope does not have the hash that stands beside it".to_owned();
        return Err(AuditError::Unreadable { position, detail });
    }
    Ok(Fetched {
        held: Held { position, envelope },
        aggregate: (row.try_get(3)?, row.try_get(4)?),
    })
}
