//! The rows of sessions: when each was last used. They stand under the platform's tenant, as users do.

use counterfoil_events::ids::{ApiKeyHash, ApiKeyId, TenantId, UserId};
use counterfoil_events::ledger::Database;
use counterfoil_events::timestamp::Timestamp;
use sqlx::types::chrono::{DateTime, Utc};
use uuid::Uuid;

const ADD: &str = "
    INSERT INTO counterfoil.sessions (tenant_id, session_id, user_id, hash, opened_at, last_used_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $5, $6)";

/// On the index over users.
const DELETE_ENDED: &str = "
    DELETE FROM counterfoil.sessions WHERE tenant_id = $1 AND user_id = $2 AND expires_at <= $3";

/// On the primary key.
const LAST_USED: &str = "
    SELECT last_used_at FROM counterfoil.sessions WHERE tenant_id = $1 AND session_id = $2 AND hash = $3";

/// Never earlier than it was: of two processes the later use counts.
const USE: &str = "
    UPDATE counterfoil.sessions SET last_used_at = $3
    WHERE tenant_id = $1 AND session_id = $2 AND last_used_at < $3";

/// On the index over users.
const OF_USER: &str = "
    SELECT session_id, last_used_at FROM counterfoil.sessions WHERE tenant_id = $1 AND user_id = $2";

const DELETE_ONE: &str = "
    DELETE FROM counterfoil.sessions WHERE tenant_id = $1 AND user_id = $2 AND session_id = $3";

const DELETE_ALL: &str = "DELETE FROM counterfoil.sessions WHERE tenant_id = $1 AND user_id = $2";

/// A session about to be opened.
#[derive(Debug, Clone, Copy)]
pub struct NewSession {
    /// Its name.
    pub session: ApiKeyId,
    /// Whose it is.
    pub user: UserId,
    /// The keyed hash of what its holder shows.
    pub hash: ApiKeyHash,
    /// From when on.
    pub opened_at: Timestamp,
    /// Its end at the latest.
    pub expires_at: Timestamp,
}

/// The table of sessions.
#[derive(Clone)]
pub struct SessionStore(Database);

impl SessionStore {
    /// On these connections.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Keeps a session, and forgets those of its user that have ended.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn add(&self, new: &NewSession) -> Result<(), sqlx::Error> {
        let mut scope = self.0.tenant(TenantId::PLATFORM).await?;
        sqlx::query(DELETE_ENDED)
            .bind(TenantId::PLATFORM.0)
            .bind(new.user.0)
            .bind(new.opened_at.as_datetime())
            .execute(scope.connection())
            .await?;
        sqlx::query(ADD)
            .bind(TenantId::PLATFORM.0)
            .bind(new.session.0)
            .bind(new.user.0)
            .bind(&new.hash.0[..])
            .bind(new.opened_at.as_datetime())
            .bind(new.expires_at.as_datetime())
            .execute(scope.connection())
            .await?;
        scope.commit().await
    }

    /// When a session was last used; none without a row, which means that it has ended.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn last_used(
        &self,
        session: ApiKeyId,
        hash: &ApiKeyHash,
    ) -> Result<Option<Timestamp>, sqlx::Error> {
        let mut scope = self.0.tenant(TenantId::PLATFORM).await?;
        let row: Option<DateTime<Utc>> = sqlx::query_scalar(LAST_USED)
            .bind(TenantId::PLATFORM.0)
            .bind(session.0)
            .bind(&hash.0[..])
            .fetch_optional(scope.connection())
            .await?;
        Ok(row.map(Timestamp::from))
    }

    /// Notes a use.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn note_use(&self, session: ApiKeyId, at: Timestamp) -> Result<(), sqlx::Error> {
        let mut scope = self.0.tenant(TenantId::PLATFORM).await?;
        sqlx::query(USE)
            .bind(TenantId::PLATFORM.0)
            .bind(session.0)
            .bind(at.as_datetime())
            .execute(scope.connection())
            .await?;
        scope.commit().await
    }

    /// When each session of a user was last used.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<(ApiKeyId, Timestamp)>, sqlx::Error> {
        let mut scope = self.0.tenant(TenantId::PLATFORM).await?;
        let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(OF_USER)
            .bind(TenantId::PLATFORM.0)
            .bind(user.0)
            .fetch_all(scope.connection())
            .await?;
        let row = |(session, last): (Uuid, DateTime<Utc>)| (ApiKeyId(session), last.into());
        Ok(rows.into_iter().map(row).collect())
    }

    /// Forgets one session of a user, or all.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn delete(&self, user: UserId, one: Option<ApiKeyId>) -> Result<(), sqlx::Error> {
        let mut scope = self.0.tenant(TenantId::PLATFORM).await?;
        let (tenant, user) = (TenantId::PLATFORM.0, user.0);
        let delete = match one {
            Some(session) => sqlx::query(DELETE_ONE).bind(tenant).bind(user).bind(session.0),
            None => sqlx::query(DELETE_ALL).bind(tenant).bind(user),
        };
        delete.execute(scope.connection()).await?;
        scope.commit().await
    }
}
