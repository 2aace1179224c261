//! The vault's rows: organisations' keys and secrets' ciphertexts, each in its tenant's scope.
//!
//! Nothing here can be opened without a KMS, and nothing here is trusted: the log names a version's ciphertext by digest,
//! and every row is bound to its place by what seals it.

use counterfoil_events::ids::{ContentDigest, OrganisationId, TenantId};
use counterfoil_events::ledger::Database;
use uuid::Uuid;

use super::kms::Wrapped;
use super::seal::Sealed;

/// The newest key of an organisation; served by the primary key.
const NEWEST_KEY: &str = "
    SELECT number, kek, wrapped FROM counterfoil.organisation_keys
    WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1";

const KEY: &str = "
    SELECT number, kek, wrapped FROM counterfoil.organisation_keys WHERE tenant_id = $1 AND number = $2";

const KEYS: &str = "
    SELECT number, kek, wrapped FROM counterfoil.organisation_keys WHERE tenant_id = $1 ORDER BY number";

/// Of two processes that make the same key one does.
const ADD_KEY: &str = "
    INSERT INTO counterfoil.organisation_keys (tenant_id, number, organisation_id, kek, wrapped)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// Compares, so that of two who wrap anew at one time neither undoes the other.
const REWRAP_KEY: &str = "
    UPDATE counterfoil.organisation_keys SET kek = $3, wrapped = $4
    WHERE tenant_id = $1 AND number = $2 AND kek = $5";

const ADD_VERSION: &str = "
    INSERT INTO counterfoil.secret_versions
        (tenant_id, secret, version, digest, sealed, data_key, organisation_key, wrapped)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const VERSION: &str = "
    SELECT sealed, data_key, organisation_key, wrapped FROM counterfoil.secret_versions
    WHERE tenant_id = $1 AND secret = $2 AND version = $3 AND digest = $4";

/// On the primary key. The log says which of them are in use; one that is not has no ciphertext, but for the leavings of a
/// storing that was cut off.
const NAMES: &str = "
    SELECT DISTINCT secret FROM counterfoil.secret_versions
    WHERE tenant_id = $1 AND secret > $2 ORDER BY secret LIMIT $3";

/// Compares, as [`REWRAP_KEY`] does.
const REWRAP_VERSION: &str = "
    UPDATE counterfoil.secret_versions SET organisation_key = $5, wrapped = $6
    WHERE tenant_id = $1 AND secret = $2 AND version = $3 AND digest = $4 AND organisation_key = $7";

const DELETE_SECRET: &str = "
    DELETE FROM counterfoil.secret_versions WHERE tenant_id = $1 AND secret = $2";

const DELETE_VERSION: &str = "
    DELETE FROM counterfoil.secret_versions WHERE tenant_id = $1 AND secret = $2 AND version = $3 AND digest = $4";

const DELETE_ALL: &str = "
    DELETE FROM counterfoil.secret_versions WHERE tenant_id = $1";

/// A key of an organisation, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// 1, 2, 3 …
    pub number: u32,
    /// The key, wrapped by the KEK.
    pub wrapped: Wrapped,
}

/// A version of a secret, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The value.
    pub sealed: Sealed,
    /// The data key's name.
    pub data_key: Uuid,
    /// Which of the organisation's keys wraps it.
    pub organisation_key: u32,
    /// The data key, wrapped.
    pub wrapped: Sealed,
}

/// Which version of which secret.
#[derive(Debug, Clone, Copy)]
pub struct VersionKey<'k> {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub secret: &'k str,
    /// Which version.
    pub version: u32,
}

type KeyColumns = (i32, String, Vec<u8>);

/// The vault's tables.
#[derive(Clone)]
pub struct VaultStore(Database);

impl VaultStore {
    /// On these connections.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// The key that wraps new data keys, if there is one.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn newest_key(&self, home: TenantId) -> Result<Option<KeyRow>, sqlx::Error> {
        let mut scope = self.0.tenant(home).await?;
        let query = sqlx::query_as::<_, KeyColumns>(NEWEST_KEY).bind(home.0);
        Ok(query.fetch_optional(scope.connection()).await?.map(key_row))
    }

    /// One key.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn key(&self, home: TenantId, number: u32) -> Result<Option<KeyRow>, sqlx::Error> {
        let mut scope = self.0.tenant(home).await?;
        let query = sqlx::query_as::<_, KeyColumns>(KEY)
            .bind(home.0)
            .bind(column(number));
        Ok(query.fetch_optional(scope.connection()).await?.map(key_row))
    }

    /// All keys of an organisation: one for each rotation.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn keys(&self, home: TenantId) -> Result<Vec<KeyRow>, sqlx::Error> {
        let mut scope = self.0.tenant(home).await?;
        let query = sqlx::query_as::<_, KeyColumns>(KEYS).bind(home.0);
        let rows = query.fetch_all(scope.connection()).await?;
        Ok(rows.into_iter().map(key_row).collect())
    }

    /// Keeps a key, unless one of this number is there.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn add_key(
        &self,
        home: TenantId,
        organisation: OrganisationId,
        key: &KeyRow,
    ) -> Result<(), sqlx::Error> {
        let mut scope = self.0.tenant(home).await?;
        sqlx::query(ADD_KEY)
            .bind(home.0)
            .bind(column(key.number))
            .bind(organisation.0)
            .bind(&key.wrapped.kek)
            .bind(&key.wrapped.bytes)
            .execute(scope.connection())
            .await?;
        scope.commit().await
    }

    /// Puts another wrapping of the same key in the place of the one by `before`.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn rewrap_key(&self, home: TenantId, key: &KeyRow, before: &str) -> Result<(), sqlx::Error> {
        let mut scope = self.0.tenant(home).await?;
        sqlx::query(REWRAP_KEY)
            .bind(home.0)
            .bind(column(key.number))
            .bind(&key.wrapped.kek)
            .bind(&key.wrapped.bytes)
            .bind(before)
            .execute(scope.connection())
            .await?;
        scope.commit().await
    }

    /// Keeps a version's ciphertext, and says its digest.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn add_version(
        &self,
        key: VersionKey<'_>,
        row: &VersionRow,
    ) -> Result<ContentDigest, sqlx::Error> {
        let digest = ContentDigest::of(&row.sealed.0);
        let mut scope = self.0.tenant(key.tenant).await?;
        sqlx::query(ADD_VERSION)
            .bind(key.tenant.0)
            .bind(key.secret)
            .bind(column(key.version))
            .bind(&digest.0[..])
            .bind(&row.sealed.0)
            .bind(row.data_key)
            .bind(column(row.organisation_key))
            .bind(&row.wrapped.0)
            .execute(scope.connection())
            .await?;
        scope.commit().await?;
        Ok(digest)
    }

    /// The version's ciphertext with this digest.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn version(
        &self,
        key: VersionKey<'_>,
        digest: ContentDigest,
    ) -> Result<Option<VersionRow>, sqlx::Error> {
        let mut scope = self.0.tenant(key.tenant).await?;
        let row: Option<(Vec<u8>, Uuid, i32, Vec<u8>)> = sqlx::query_as(VERSION)
            .bind(key.tenant.0)
            .bind(key.secret)
            .bind(column(key.version))
            .bind(&digest.0[..])
            .fetch_optional(scope.connection())
            .await?;
        Ok(
            row.map(|(sealed, data_key, organisation_key, wrapped)| VersionRow {
                sealed: Sealed(sealed),
                data_key,
                organisation_key: organisation_key.unsigned_abs(),
                wrapped: Sealed(wrapped),
            }),
        )
    }

    /// Puts the data key as another of the organisation's keys wraps it into the place of the one by `before`; whether it
    /// was still there.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn rewrap_version(
        &self,
        key: VersionKey<'_>,
        digest: ContentDigest,
        row: &VersionRow,
        before: u32,
    ) -> Result<bool, sqlx::Error> {
        let mut scope = self.0.tenant(key.tenant).await?;
        let done = sqlx::query(REWRAP_VERSION)
            .bind(key.tenant.0)
            .bind(key.secret)
            .bind(column(key.version))
            .bind(&digest.0[..])
            .bind(column(row.organisation_key))
            .bind(&row.wrapped.0)
            .bind(column(before))
            .execute(scope.connection())
            .await?;
        scope.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Names of secrets with a ciphertext, after `after`, in their order.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn names(&self, tenant: TenantId, after: &str, limit: i64) -> Result<Vec<String>, sqlx::Error> {
        let mut scope = self.0.tenant(tenant).await?;
        let query = sqlx::query_scalar(NAMES).bind(tenant.0).bind(after).bind(limit);
        query.fetch_all(scope.connection()).await
    }

    /// Deletes all ciphertexts of a secret; says how many there were.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn delete(&self, tenant: TenantId, secret: &str) -> Result<u64, sqlx::Error> {
        let mut scope = self.0.tenant(tenant).await?;
        let deleted = sqlx::query(DELETE_SECRET)
            .bind(tenant.0)
            .bind(secret)
            .execute(scope.connection())
            .await?;
        scope.commit().await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes the version's ciphertext with this digest.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn delete_version(
        &self,
        key: VersionKey<'_>,
        digest: ContentDigest,
    ) -> Result<(), sqlx::Error> {
        let mut scope = self.0.tenant(key.tenant).await?;
        sqlx::query(DELETE_VERSION)
            .bind(key.tenant.0)
            .bind(key.secret)
            .bind(column(key.version))
            .bind(&digest.0[..])
            .execute(scope.connection())
            .await?;
        scope.commit().await
    }

    /// Deletes all ciphertexts of a tenant; says how many there were.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn delete_all(&self, tenant: TenantId) -> Result<u64, sqlx::Error> {
        let mut scope = self.0.tenant(tenant).await?;
        let deleted = sqlx::query(DELETE_ALL)
            .bind(tenant.0)
            .execute(scope.connection())
            .await?;
        scope.commit().await?;
        Ok(deleted.rows_affected())
    }
}

fn key_row((number, kek, bytes): KeyColumns) -> KeyRow {
    KeyRow {
        number: number.unsigned_abs(),
        wrapped: Wrapped { kek, bytes },
    }
}

/// Versions are bounded far below this; a number that is not fits no row.
fn column(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
