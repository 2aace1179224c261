//! Turns for a head that other processes keep moving: nothing is placed but under its lock, so that everybody makes
//! progress.

use sqlx::{Acquire, PgConnection, Postgres, Transaction};

use super::{Lane, MISSES_BEFORE_LOCKING, answer_all, release, unavailable};
use crate::ids::{EventHash, Position, TenantId};
use crate::ledger::call::{CALL_TIMEOUT, close, within};
use crate::ledger::draft::Draft;
use crate::ledger::place::Head;
use crate::ledger::request::AppendError;
use crate::ledger::waiting::Waiting;
use crate::ledger::write::{Outcome, classify, write};
use crate::timestamp::Timestamp;

const LOCK_HEAD: &str =
    "SELECT head_position, head_hash, head_fence, head_recorded_at FROM counterfoil.lock_head($1)";

impl Lane {
    /// A turn for a head that others keep moving: nothing is placed but under its lock.
    pub(super) async fn write_under_lock(&mut self) {
        self.waiting.start_over();
        let limits = self.limits();
        let batch: Vec<_> = std::iter::from_fn(|| self.waiting.next(limits)).collect();
        self.waiting.start_over();
        let pool = self.shared.database.log().clone();
        let mut connection = match pool.acquire().await {
            Ok(connection) => connection,
            Err(error) => return answer_all(batch, &unavailable(&error)),
        };
        match self.place_and_write(&mut connection, batch).await {
            Ok((outcome, draft, contended)) => {
                release(connection, &outcome);
                match outcome {
                    Outcome::Written => {
                        self.head = Some(draft.batch.after);
                        self.note_written(&draft);
                        self.answer_written(Some(draft));
                    }
                    other => self.settle(other, draft).await,
                }
                // Others still write: to try without the lock again would only waste three batches before taking it.
                self.misses = if contended {
                    MISSES_BEFORE_LOCKING
                } else {
                    self.misses
                };
            }
            Err((error, batch)) => {
                close(connection);
                answer_all(batch, &error);
            }
        }
    }

    /// Answers the outcome, what was tried, and whether others had moved the head when it was locked.
    async fn place_and_write(
        &self,
        connection: &mut PgConnection,
        batch: Vec<Waiting>,
    ) -> Result<(Outcome, Draft, bool), (AppendError, Vec<Waiting>)> {
        let locked = async {
            let mut transaction = within(CALL_TIMEOUT, connection.begin()).await?;
            let head = within(CALL_TIMEOUT, lock_head(&mut transaction, self.tenant)).await?;
            Ok((transaction, head))
        };
        let (mut transaction, head) = match locked.await {
            Ok((transaction, Some(head))) => (transaction, head),
            Ok((_, None)) => return Err((AppendError::MissingTenant(self.tenant), batch)),
            Err(error) => return Err((unavailable(&error), batch)),
        };
        let contended = self.head != Some(head);
        let mut draft = self.draft_on(head);
        for waiting in batch {
            draft.add(waiting, self.shared.clock.now());
        }
        if draft.is_empty() {
            // All of it was too large: nothing to write, and the head stays where it is.
            return Ok((Outcome::Written, draft, false));
        }
        let outcome = match write(&mut transaction, &draft).await {
            Outcome::Written => commit(transaction).await,
            other => other,
        };
        Ok((outcome, draft, contended))
    }
}

/// The commit point of what was written under the lock.
async fn commit(transaction: Transaction<'_, Postgres>) -> Outcome {
    fail::fail_point!("ledger.before_commit");
    let committed = within(CALL_TIMEOUT, transaction.commit()).await;
    fail::fail_point!("ledger.after_commit");
    match committed {
        Ok(()) => Outcome::Written,
        Err(error) => classify(&error),
    }
}

async fn lock_head(connection: &mut PgConnection, tenant: TenantId) -> Result<Option<Head>, sqlx::Error> {
    let row: Option<(i64, Vec<u8>, i64, chrono::DateTime<chrono::Utc>)> = sqlx::query_as(LOCK_HEAD)
        .bind(tenant.0)
        .fetch_optional(connection)
        .await?;
    row.map(|(position, hash, fence, recorded_at)| {
        let hash = EventHash::try_from(hash.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Head {
            position: Position::from_i64(position),
            hash,
            fence,
            recorded_at: Timestamp::from(recorded_at),
        })
    })
    .transpose()
}
