//! The latest events of the logs, read once for all read models.
//!
//! Every read model is woken by the same commits and wants the same few events; without this each would ask Postgres for
//! them. One that is far behind reads for itself, only the types that it folds, and so does one that fell behind what is
//! kept here. Events never change, so what was read once may be folded in any later transaction.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::{CALL_TIMEOUT, give_back, within};
use counterfoil_projections::engine::{Batch, LoggedEvent, Projection, STEP, Stretch, page};
use lru::LruCache;
use sqlx::PgPool;

/// Who is further behind reads for itself.
const NEAR: u64 = 256;
/// What is kept of a log: enough for read models that are at different places in the same burst.
const EVENTS_MAX: usize = 512;
const BYTES_MAX: usize = 512 * 1024;
/// Logs that something is kept of: 32 MiB at the very most.
const LOGS_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// On the primary key.
const TAIL: &str = "SELECT position, type, envelope, hash FROM counterfoil.events \
                    WHERE tenant_id = $1 AND position > $2 AND position <= $3 ORDER BY position";

/// The latest events; see the module.
pub(super) struct Recent {
    pool: PgPool,
    /// Each log's by itself, so that the first who asks reads for those who ask meanwhile.
    logs: Mutex<LruCache<TenantId, Arc<tokio::sync::Mutex<Tail>>>>,
}

impl Recent {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            logs: Mutex::new(LruCache::new(LOGS_MAX)),
        }
    }

    /// The next step of each stretch, [`STEP`] positions at most over all of them. One ends where its log does, which after
    /// a failover may be before what was heard of it.
    pub(super) async fn read(
        &self,
        projection: &dyn Projection,
        stretches: &[Stretch],
    ) -> Result<Vec<Batch>, sqlx::Error> {
        let mut batches = Vec::new();
        let mut room = STEP;
        for Stretch { tenant, from, until } in stretches {
            if room == 0 {
                break;
            }
            let until = Position(until.0.min(from.0 + room));
            let batch = match self.kept(projection, *tenant, (*from, until)).await? {
                Some(batch) => batch,
                None => {
                    let mut connection = self.pool.acquire().await?;
                    let read = page(&mut connection, projection, *tenant, *from, until);
                    let read = within(CALL_TIMEOUT, read).await;
                    give_back(connection, &read);
                    read?
                }
            };
            room -= batch.to.0 - batch.from.0;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// None for who has to read for itself.
    async fn kept(
        &self,
        projection: &dyn Projection,
        tenant: TenantId,
        (from, until): (Position, Position),
    ) -> Result<Option<Batch>, sqlx::Error> {
        if until.0 - from.0 > NEAR {
            return Ok(None);
        }
        let tail = self.tail(tenant, from);
        let mut tail = tail.lock().await;
        if tail.end.0 + NEAR < from.0 {
            // No feeder needs it: all are past it, or have read Postgres themselves.
            *tail = Tail::after(from);
        }
        if from < tail.start {
            return Ok(None);
        }
        if tail.end < until {
            let mut connection = self.pool.acquire().await?;
            let read = sqlx::query_as(TAIL)
                .bind(tenant.0)
                .bind(tail.end.as_i64())
                .bind(until.as_i64());
            let read = within(CALL_TIMEOUT, read.fetch_all(&mut *connection)).await;
            give_back(connection, &read);
            tail.add(read?);
        }
        // What was just added may have pushed out what this one is for.
        let until = until.min(tail.end).max(from);
        Ok((from >= tail.start).then(|| Batch {
            tenant,
            from,
            to: until,
            events: tail.between(from, until, projection.declaration().event_types),
        }))
    }

    /// Reads everything anew from the next time on: what was read may be damaged and mended meanwhile, or be of a database
    /// that was put back to an earlier state.
    pub(super) fn forget(&self) {
        self.kept_logs().clear();
    }

    /// What is kept of a log; begun at `from` if that is nothing yet.
    fn tail(&self, tenant: TenantId, from: Position) -> Arc<tokio::sync::Mutex<Tail>> {
        let begun = || Arc::new(tokio::sync::Mutex::new(Tail::after(from)));
        Arc::clone(self.kept_logs().get_or_insert(tenant, begun))
    }

    fn kept_logs(&self) -> MutexGuard<'_, LruCache<TenantId, Arc<tokio::sync::Mutex<Tail>>>> {
        // Entries are whole before they are put: a panic elsewhere cannot leave the cache half changed.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(sqlx::FromRow)]
struct Event {
    position: i64,
    r#type: String,
    envelope: String,
    hash: Vec<u8>,
}

/// Consecutive events of a log: those after `start`, up to `end`.
struct Tail {
    start: Position,
    end: Position,
    events: VecDeque<Event>,
    bytes: usize,
}

impl Tail {
    fn after(start: Position) -> Self {
        Self {
            start,
            end: start,
            events: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Adds the events after its end, as far as none is missing; the oldest make room.
    fn add(&mut self, events: Vec<Event>) {
        for event in events {
            if event.position != self.end.next().as_i64() {
                break;
            }
            self.end = self.end.next();
            self.bytes += event.envelope.len();
            self.events.push_back(event);
        }
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.envelope.len();
            self.start = Position::from_i64(oldest.position);
        }
    }

    /// The events after `from`, up to `until`, of these types.
    fn between(&self, from: Position, until: Position, types: &[&str]) -> Vec<LoggedEvent> {
        let first = self
            .events
            .partition_point(|event| event.position <= from.as_i64());
        let wanted = self
            .events
            .range(first..)
            .take_while(|event| event.position <= until.as_i64());
        wanted
            .filter(|event| types.contains(&event.r#type.as_str()))
            .map(|event| LoggedEvent {
                position: event.position,
                envelope: event.envelope.clone(),
                hash: event.hash.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(positions: std::ops::RangeInclusive<i64>, bytes: usize) -> Vec<Event> {
        positions
            .map(|position| Event {
                position,
                r#type: if position % 2 == 0 { "Even" } else { "Odd" }.to_owned(),
                envelope: "x".repeat(bytes),
                hash: Vec::new(),
            })
            .collect()
    }

    fn positions(events: &[LoggedEvent]) -> Vec<i64> {
        events.iter().map(|event| event.position).collect()
    }

    #[test]
    fn a_read_model_gets_its_types_from_its_cursor_up_to_where_it_asked() {
        let mut tail = Tail::after(Position(4));
        tail.add(events(5..=12, 10));
        let even = tail.between(Position(6), Position(11), &["Even"]);
        assert_eq!(positions(&even), [8, 10]);
        assert_eq!(
            positions(&tail.between(Position(4), Position(6), &["Even", "Odd"])),
            [5, 6]
        );
        assert!(tail.between(Position(12), Position(12), &["Even"]).is_empty());
    }

    #[test]
    fn what_is_not_there_is_not_passed_over() {
        let mut tail = Tail::after(Position(4));
        tail.add(events(5..=6, 10));
        tail.add(events(8..=9, 10));
        assert_eq!(tail.end, Position(6));
        tail.add(Vec::new());
        assert_eq!(tail.end, Position(6));
        tail.add(events(7..=9, 10));
        assert_eq!((tail.end, tail.events.len()), (Position(9), 5));
    }

    #[test]
    fn the_oldest_make_room_and_the_start_says_so() {
        let mut tail = Tail::after(Position(0));
        tail.add(events(1..=8, BYTES_MAX / 4));
        assert_eq!((tail.start, tail.end), (Position(4), Position(8)));
        tail.add(events(9..=9, BYTES_MAX * 2));
        assert_eq!((tail.start, tail.end, tail.bytes), (Position(9), Position(9), 0));
    }
}
