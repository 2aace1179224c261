//! A limit of our own on calls to Postgres: the server's own limits do not help when it has gone away without a word.
//!
//! A connection whose call was given up, or broke, is closed: it may still be at work, and the pool would wait for it.

use std::io;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, PgPool, Postgres};

/// Longer than the server's own statement timeout, so that a slow server answers for itself.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What `call` answers, if it does within `limit`.
///
/// # Errors
/// The call's own, and [`sqlx::Error::Io`] when time runs out.
pub async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        let late = format!("no answer within {} ms", limit.as_millis());
        Err(io::Error::new(io::ErrorKind::TimedOut, late).into())
    })
}

/// All rows of a query, over a connection of the pool.
///
/// # Errors
/// The query's own, and [`sqlx::Error::Io`] when time runs out.
pub async fn all<R>(
    pool: &PgPool,
    query: QueryAs<'_, Postgres, R, PgArguments>,
) -> Result<Vec<R>, sqlx::Error>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut connection = pool.acquire().await?;
    let rows = within(CALL_TIMEOUT, query.fetch_all(&mut *connection)).await;
    give_back(connection, &rows);
    rows
}

/// The row of a query that finds one at most.
///
/// # Errors
/// As [`all`].
pub async fn one<R>(
    pool: &PgPool,
    query: QueryAs<'_, Postgres, R, PgArguments>,
) -> Result<Option<R>, sqlx::Error>
where
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut connection = pool.acquire().await?;
    let row = within(CALL_TIMEOUT, query.fetch_optional(&mut *connection)).await;
    give_back(connection, &row);
    row
}

/// Carries a statement out; says how many rows it touched.
///
/// # Errors
/// As [`all`].
pub async fn execute(pool: &PgPool, statement: Query<'_, Postgres, PgArguments>) -> Result<u64, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let done = within(CALL_TIMEOUT, statement.execute(&mut *connection)).await;
    give_back(connection, &done);
    done.map(|done| done.rows_affected())
}

/// Gives a connection back after a call: to the pool if the server answered, be it with an error.
pub fn give_back<T>(connection: PoolConnection<Postgres>, answer: &Result<T, sqlx::Error>) {
    match answer {
        Ok(_) | Err(sqlx::Error::Database(_) | sqlx::Error::RowNotFound | sqlx::Error::Decode(_)) => {}
        Err(_) => close(connection),
    }
}

/// Closes a connection at once, and makes room in the pool.
pub(crate) fn close(connection: PoolConnection<Postgres>) {
    drop(connection.detach());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_is_given_up() {
        let never = std::future::pending::<Result<(), sqlx::Error>>();
        let given_up = within(CALL_TIMEOUT, never).await;
        assert!(matches!(given_up, Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut));
    }
}
