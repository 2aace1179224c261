//! Sealing and opening a secret's versions: the three layers, put together.
//!
//! Seal: a fresh data key seals the value, the organisation's newest key wraps the data key, the row is stored; what the
//! event has to say of it is its digest. Open: the row that the log names, the organisation's key from memory or the KMS,
//! the data key, the value. The organisation's key is had *before* a use is recorded ([`Vault::prepare`]), so that what is
//! recorded as opened can be opened: [`Ready::open`] asks nobody.

use std::sync::Arc;
use std::time::Instant;

use counterfoil_events::ids::{ContentDigest, OrganisationId, TenantId};
use counterfoil_events::ledger::Database;
use counterfoil_events::secret::{SecretName, SecretPurpose, SecretRef};
use uuid::Uuid;

use super::binding::{self, SecretPlace};
use super::cache::{KeyName, OrganisationKeys};
use super::key::{Key, NoRandomness, Plaintext};
use super::kms::{Kms, KmsError};
use super::seal::{self, Unopened};
use super::store::{KeyRow, VaultStore, VersionKey, VersionRow};

/// Largest value of a secret: a chain of certificates with its key.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A secret was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The KMS did not do its part.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// Postgres does not answer.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// A row that the log names is not there.
    #[error("the vault has lost {0}: restore it from a backup")]
    Lost(&'static str),
    /// A row was changed or moved.
    #[error(transparent)]
    Unopened(#[from] Unopened),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Whose key seals, and in whose scope that key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its home tenant.
    pub home: TenantId,
}

impl Owner {
    /// The platform itself, for secrets that serve all tenants.
    pub const PLATFORM: Self = Self {
        organisation: OrganisationId(Uuid::nil()),
        home: TenantId::PLATFORM,
    };
}

/// Which version of which secret, in words of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionOf {
    /// Whose key seals it.
    pub owner: Owner,
    /// In whose log it is.
    pub tenant: TenantId,
    /// Its name.
    pub secret: SecretName,
    /// Which version.
    pub version: u32,
    /// What it may be used for.
    pub purpose: SecretPurpose,
}

impl VersionOf {
    /// As events name it.
    #[must_use]
    pub fn reference(&self) -> SecretRef {
        SecretRef {
            tenant: self.tenant,
            secret: self.secret.clone(),
            version: self.version,
        }
    }

    fn place(&self) -> SecretPlace<'_> {
        SecretPlace {
            organisation: self.owner.organisation,
            tenant: self.tenant,
            secret: self.secret.as_str(),
            version: self.version,
            purpose: self.purpose.as_str(),
        }
    }

    fn key(&self) -> VersionKey<'_> {
        VersionKey {
            tenant: self.tenant,
            secret: self.secret.as_str(),
            version: self.version,
        }
    }
}

/// A version whose ciphertext and wrapped keys are here, and nothing that opens them.
#[derive(Debug, Clone)]
pub struct Stored {
    of: VersionOf,
    row: VersionRow,
    key: KeyRow,
}

/// A version that can be opened without asking anybody.
pub struct Ready {
    stored: Arc<Stored>,
    key: Arc<Key>,
}

impl Ready {
    /// Which version it is.
    #[must_use]
    pub fn of(&self) -> &VersionOf {
        &self.stored.of
    }

    /// The value, to be dropped when the call is made.
    ///
    /// # Errors
    /// [`Unopened`]: a row was changed or moved.
    pub fn open(&self) -> Result<Plaintext, Unopened> {
        let Stored { of, row, .. } = &*self.stored;
        let place = of.place();
        let wrapped_for = place.of_data_key(row.data_key, row.organisation_key);
        let data_key = seal::unwrap(&self.key, &wrapped_for, &row.wrapped.0)?;
        seal::open(&data_key, &place.of_value(row.data_key), &row.sealed.0)
    }
}

/// Seals and opens.
pub struct Vault {
    store: VaultStore,
    kms: Arc<dyn Kms>,
    keys: OrganisationKeys,
}

impl Vault {
    /// On these tables and this KMS.
    #[must_use]
    pub fn new(database: Database, kms: Arc<dyn Kms>) -> Self {
        Self {
            store: VaultStore::new(database),
            keys: OrganisationKeys::new(Arc::clone(&kms), Arc::new(Instant::now)),
            kms,
        }
    }

    /// The keys in memory, for whoever renews them.
    #[must_use]
    pub fn keys(&self) -> &OrganisationKeys {
        &self.keys
    }

    /// Seals a value and stores it; its digest is for the event.
    ///
    /// # Errors
    /// See [`VaultError`]; without the event, what was stored is nobody's.
    pub async fn seal(&self, of: &VersionOf, value: &Plaintext) -> Result<ContentDigest, VaultError> {
        let wrapping = self.newest_key(of.owner).await?;
        let by = self.unwrapped(of.owner, &wrapping).await?;
        let (place, data_key, name) = (of.place(), Key::generate()?, Uuid::new_v4());
        let wrapped_for = place.of_data_key(name, wrapping.number);
        let row = VersionRow {
            sealed: seal::seal(&data_key, &place.of_value(name), value.expose())?,
            data_key: name,
            organisation_key: wrapping.number,
            wrapped: seal::wrap(&by, &wrapped_for, &data_key)?,
        };
        Ok(self.store.add_version(of.key(), &row).await?)
    }

    /// Finds the ciphertext that the log names.
    ///
    /// # Errors
    /// When Postgres does not answer, or a row is lost.
    pub async fn find(&self, of: VersionOf, sealed: ContentDigest) -> Result<Arc<Stored>, VaultError> {
        let row = self.store.version(of.key(), sealed).await?;
        let row = row.ok_or(VaultError::Lost("a secret's ciphertext"))?;
        if ContentDigest::of(&row.sealed.0) != sealed {
            return Err(Unopened.into());
        }
        let key = self.store.key(of.owner.home, row.organisation_key).await?;
        let key = key.ok_or(VaultError::Lost("an organisation's key"))?;
        Ok(Arc::new(Stored { of, row, key }))
    }

    /// Has the organisation's key at hand.
    ///
    /// # Errors
    /// When it is not in memory and the KMS does not give it.
    pub async fn prepare(&self, stored: &Arc<Stored>) -> Result<Ready, KmsError> {
        Ok(Ready {
            key: self.unwrapped(stored.of.owner, &stored.key).await?,
            stored: Arc::clone(stored),
        })
    }

    /// Names of secrets with a ciphertext, after `after`, in their order; the log says which of them are in use.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn names(&self, tenant: TenantId, after: &str, limit: i64) -> Result<Vec<String>, VaultError> {
        Ok(self.store.names(tenant, after, limit).await?)
    }

    /// Deletes a secret's ciphertexts.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn delete(&self, tenant: TenantId, secret: &SecretName) -> Result<u64, VaultError> {
        Ok(self.store.delete(tenant, secret.as_str()).await?)
    }

    /// Deletes one ciphertext, which the log does not name.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn discard(&self, of: &VersionOf, sealed: ContentDigest) -> Result<(), VaultError> {
        Ok(self.store.delete_version(of.key(), sealed).await?)
    }

    /// Wraps an organisation's keys by the newest version of the KEK, those that are not yet; says how many were. Safe to
    /// repeat and to be cut off, and nothing waits for it: the older version still unwraps.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn rewrap(&self, owner: Owner) -> Result<usize, VaultError> {
        let mut anew = 0;
        for before in self.store.keys(owner.home).await? {
            let key = self.unwrapped(owner, &before).await?;
            let wrapped = self.kms.wrap(&key, &aad(owner, before.number)).await?;
            if wrapped.kek == before.wrapped.kek {
                continue;
            }
            let number = before.number;
            let after = KeyRow { number, wrapped };
            self.store
                .rewrap_key(owner.home, &after, &before.wrapped.kek)
                .await?;
            anew += 1;
        }
        Ok(anew)
    }

    /// Lets another key of the organisation wrap new data keys; the earlier ones stay for what they have wrapped.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn rotate_key(&self, owner: Owner) -> Result<u32, VaultError> {
        let newest = self.store.newest_key(owner.home).await?;
        let number = newest.map_or(1, |key| key.number + 1);
        self.make_key(owner, number).await?;
        Ok(number)
    }

    /// The number of the key that wraps new data keys; none before the first secret.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn newest_number(&self, owner: Owner) -> Result<Option<u32>, VaultError> {
        Ok(self.store.newest_key(owner.home).await?.map(|key| key.number))
    }

    /// Wraps one version's data key by the organisation's key of this number, unless it is already or the row is gone;
    /// whether it was not. The value stays as it is sealed.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn rewrap_version(
        &self,
        of: &VersionOf,
        digest: ContentDigest,
        number: u32,
    ) -> Result<bool, VaultError> {
        let Some(row) = self.store.version(of.key(), digest).await? else {
            return Ok(false);
        };
        let before = row.organisation_key;
        if before >= number {
            return Ok(false);
        }
        let (old, new) = (
            self.key_of(of.owner, before).await?,
            self.key_of(of.owner, number).await?,
        );
        let place = of.place();
        let data_key = seal::unwrap(&old, &place.of_data_key(row.data_key, before), &row.wrapped.0)?;
        let wrapped = seal::wrap(&new, &place.of_data_key(row.data_key, number), &data_key)?;
        let row = VersionRow {
            organisation_key: number,
            wrapped,
            ..row
        };
        Ok(self.store.rewrap_version(of.key(), digest, &row, before).await?)
    }

    async fn key_of(&self, owner: Owner, number: u32) -> Result<Arc<Key>, VaultError> {
        let key = self.store.key(owner.home, number).await?;
        let key = key.ok_or(VaultError::Lost("an organisation's key"))?;
        Ok(self.unwrapped(owner, &key).await?)
    }

    async fn newest_key(&self, owner: Owner) -> Result<KeyRow, VaultError> {
        if let Some(key) = self.store.newest_key(owner.home).await? {
            return Ok(key);
        }
        self.make_key(owner, 1).await?;
        // Perhaps another process's.
        let key = self.store.newest_key(owner.home).await?;
        key.ok_or(VaultError::Lost("an organisation's key"))
    }

    async fn make_key(&self, owner: Owner, number: u32) -> Result<(), VaultError> {
        let key = Key::generate()?;
        let wrapped = self.kms.wrap(&key, &aad(owner, number)).await?;
        let row = KeyRow { number, wrapped };
        Ok(self.store.add_key(owner.home, owner.organisation, &row).await?)
    }

    async fn unwrapped(&self, owner: Owner, key: &KeyRow) -> Result<Arc<Key>, KmsError> {
        let name = KeyName {
            organisation: owner.organisation,
            number: key.number,
        };
        self.keys.get(name, &key.wrapped).await
    }
}

fn aad(owner: Owner, number: u32) -> Vec<u8> {
    binding::of_organisation_key(owner.organisation, number)
}
