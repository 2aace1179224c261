//! Sessions of people at a browser: whether one that the log knows is still in use.
//!
//! Who somebody is by a session, and that it was ended, the log says: it is security state, in every process's memory.
//! What is here is only how long a session lies idle. Its last use is a row in Postgres, written once a minute at the
//! most, and cached in Redis and in this process's memory ([`LastUses`]).
//!
//! 1. Seen here within the last minute: in use. Nothing is asked.
//! 2. Redis says that it was used a moment ago: in use. Redis away, silent or of another opinion: the row is asked. So a
//!    login never hangs on Redis, and Redis can make nobody anybody.
//! 3. The row says when; no row, or idle for too long: it has ended (401). Postgres away: nobody can tell (503).
//! 4. The use is noted. If that fails the session ends sooner, never later.

pub mod store;

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::ids::{ApiKeyHash, ApiKeyId};
use counterfoil_events::timestamp::{Clock, Timestamp};

pub use store::{NewSession, SessionStore};

use crate::limits::LastUses;

/// How often a use is noted: idle times are minutes, so that one more or less is nothing, and a busy console writes no
/// more than a quiet one.
pub const NOTED_EVERY: Duration = Duration::from_secs(60);

/// Tells which sessions are in use.
pub struct Sessions {
    store: SessionStore,
    uses: LastUses,
    idle: Duration,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    /// One that was not used for `idle` has ended. `idle` is longer than [`NOTED_EVERY`].
    #[must_use]
    pub fn new(store: SessionStore, uses: LastUses, idle: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            uses,
            idle,
            clock,
        }
    }

    /// The rows.
    #[must_use]
    pub fn store(&self) -> &SessionStore {
        &self.store
    }

    /// How long one may lie idle.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// The present, by which sessions end.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether a session is in use, now that it is used again.
    ///
    /// # Errors
    /// When Postgres does not answer, and nobody else knows.
    pub async fn is_in_use(&self, session: ApiKeyId, hash: &ApiKeyHash) -> Result<bool, sqlx::Error> {
        let now = self.now();
        if self
            .uses
            .here(session)
            .is_some_and(|last| !over(last, NOTED_EVERY, now))
        {
            return Ok(true);
        }
        // A time to come was written by nobody who knows the time: the row is asked.
        let is_recent = |last: &Timestamp| !over(*last, NOTED_EVERY, now) && !over(now, NOTED_EVERY, *last);
        let cached = self.uses.shared(session).await;
        let last = match cached.filter(is_recent) {
            Some(last) => Some(last),
            None => self.store.last_used(session, hash).await?,
        };
        let Some(last) = last.filter(|last| !over(*last, self.idle, now)) else {
            return Ok(false);
        };
        let noted = match over(last, NOTED_EVERY, now) {
            false => last,
            true => self.note(session, now).await,
        };
        self.uses.keep(session, noted).await;
        Ok(true)
    }

    /// Whether a session has lain idle for too long; asking is no use of it.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn lies_idle(&self, session: ApiKeyId, hash: &ApiKeyHash) -> Result<bool, sqlx::Error> {
        // The row, since another process may have been asked meanwhile; it is behind by a minute at the most.
        let last = self.store.last_used(session, hash).await?;
        let now = self.now();
        Ok(last.is_none_or(|last| over(last, self.idle, now)))
    }

    async fn note(&self, session: ApiKeyId, now: Timestamp) -> Timestamp {
        if let Err(error) = self.store.note_use(session, now).await {
            tracing::warn!(%error, "a session's use cannot be noted: it may end before its time");
        }
        now
    }
}

/// Whether more than `length` has passed. A moment in the future, by another machine's clock, has not.
fn over(since: Timestamp, length: Duration, now: Timestamp) -> bool {
    since.checked_add(length).is_none_or(|end| end <= now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_over_at_its_end_and_not_before() {
        let at = |text: &str| format!("2026-11-20T{text}Z").parse::<Timestamp>().unwrap();
        let minute = Duration::from_secs(60);
        let since = at("12:00:00.000000");
        assert!(!over(since, minute, at("12:00:59.999999")));
        assert!(over(since, minute, at("12:01:00.000000")));
        assert!(!over(since, minute, at("11:00:00.000000")));
    }
}
