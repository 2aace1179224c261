//! Lets another key of an organisation wrap from now on, while everything goes on.
//!
//! 1. The new key, wrapped by the KMS, is in its place: from here on it wraps what is stored.
//! 2. `VaultKeyRotated` says so in the platform's log.
//! 3. The data keys that earlier keys have wrapped are wrapped anew, tenant by tenant, until a pass finds none: who looked
//!    for the newest key before step 1 may still store under the one before. Values are not touched, and whoever opens a
//!    secret meanwhile finds it under the one key or the other.
//!
//! Cut off anywhere, the same call goes on: where anything waits for step 2 or 3 no further key is made.

use counterfoil_events::actor::Actor;
use counterfoil_events::command::{CommandContext, CommandError, Extras, LoadError, Target};
use counterfoil_events::ids::{ContentDigest, Position, TenantId};
use counterfoil_events::ledger;
use counterfoil_events::secret::SecretName;
use counterfoil_events::vault_key::{VaultKeyCommand, VaultKeyError};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::sealing::{Owner, VaultError, VersionOf};
use super::secrets::{SecretUnusable, Secrets};
use crate::audit::Progress;
use crate::commands::Commands;

/// Tenants that keep secrets. It crosses tenants, and so is the log's to ask.
const TENANTS: &str = "SELECT DISTINCT tenant_id FROM counterfoil.secret_versions ORDER BY tenant_id";
/// On the primary key.
const BEHIND: &str = "
    SELECT secret, version, digest FROM counterfoil.secret_versions
    WHERE tenant_id = $1 AND organisation_key < $2 AND (secret, version, digest) > ($3, $4, $5)
    ORDER BY secret, version, digest LIMIT 500";
/// Each finds only what was stored while the one before looked.
const PASSES_MAX: u32 = 10;

/// The key was not rotated, or not everything is wrapped by it yet.
#[derive(Debug, thiserror::Error)]
pub enum KeyRotationError {
    /// The log of the platform knows no such organisation.
    #[error("there is no organisation with this id")]
    NoOrganisation,
    /// The vault.
    #[error("{0}; run the same command again: it goes on where it stopped")]
    Vault(#[from] VaultError),
    /// A secret's owner cannot be told.
    #[error("{0}; run the same command again: it goes on where it stopped")]
    Secret(#[from] SecretUnusable),
    /// The log cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The event could not be appended.
    #[error("recording the new key: {0}; run the same command again: it goes on where it stopped")]
    Command(#[from] CommandError<VaultKeyError>),
}

impl From<sqlx::Error> for KeyRotationError {
    fn from(error: sqlx::Error) -> Self {
        VaultError::from(error).into()
    }
}

/// A key that wraps from now on.
#[derive(Debug, Serialize)]
pub struct KeyRotated {
    /// Which of the organisation's keys.
    pub number: u32,
    /// Whether a rotation that was cut off was completed, and no key was made.
    pub resumed: bool,
    /// Where the platform's log says so; none if it did before.
    pub position: Option<Position>,
    /// How many data keys were wrapped anew.
    pub data_keys: u64,
    /// Ciphertexts that no secret in use owns, under an earlier key: nothing opens them, and nothing was done with them.
    pub left_alone: u64,
}

/// A row that an earlier key has wrapped.
type Row = (String, i32, Vec<u8>);

/// What a rotation works on.
pub struct KeyRotation<'a> {
    /// The vault, and whose secrets are whose.
    pub secrets: &'a Secrets,
    /// The log.
    pub commands: &'a Commands,
    /// The log's connections, which cross tenants.
    pub log: &'a PgPool,
}

impl KeyRotation<'_> {
    /// Rotates.
    ///
    /// # Errors
    /// See [`KeyRotationError`]; the same call goes on where it stopped.
    pub async fn rotate(
        &self,
        owner: Owner,
        progress: &dyn Progress,
    ) -> Result<KeyRotated, KeyRotationError> {
        let vault = self.secrets.vault();
        let tenants = self.tenants_of(owner).await?;
        let newest = vault.newest_number(owner).await?.unwrap_or(1);
        let recorded = self.recorded(owner).await?;
        let resumed = newest > recorded || self.count(&tenants, newest).await? > 0;
        let number = match resumed {
            true => newest,
            false => vault.rotate_key(owner).await?,
        };
        let position = match number > recorded {
            true => self.record(owner, number).await?,
            false => None,
        };
        progress.begin(self.count(&tenants, number).await?);
        let (mut data_keys, mut left_alone) = (0, 0);
        for _ in 0..PASSES_MAX {
            let mut anew = 0;
            left_alone = 0;
            for tenant in &tenants {
                let (wrapped, left) = self.rewrap(owner, *tenant, number, progress).await?;
                anew += wrapped;
                left_alone += left;
            }
            data_keys += anew;
            if anew == 0 {
                break;
            }
        }
        Ok(KeyRotated {
            number,
            resumed,
            position,
            data_keys,
            left_alone,
        })
    }

    /// The tenants whose secrets this owner's key seals.
    async fn tenants_of(&self, owner: Owner) -> Result<Vec<TenantId>, KeyRotationError> {
        let all: Vec<(Uuid,)> = ledger::all(self.log, sqlx::query_as(TENANTS)).await?;
        let mut tenants = Vec::new();
        for (tenant,) in all {
            if self.secrets.owner(TenantId(tenant)).await? == owner {
                tenants.push(TenantId(tenant));
            }
        }
        Ok(tenants)
    }

    /// How many rows earlier keys have wrapped, those that are left alone included.
    async fn count(&self, tenants: &[TenantId], number: u32) -> Result<u64, KeyRotationError> {
        let mut count = 0;
        for tenant in tenants {
            let mut after = first();
            loop {
                let rows = self.behind(*tenant, number, &after).await?;
                for (secret, ..) in &rows {
                    count += u64::from(self.is_in_use(*tenant, secret).await?);
                }
                match rows.into_iter().last() {
                    Some(last) => after = last,
                    None => break,
                }
            }
        }
        Ok(count)
    }

    /// Step 3 for one tenant: how many data keys were wrapped anew, and how many rows were left alone.
    async fn rewrap(
        &self,
        owner: Owner,
        tenant: TenantId,
        number: u32,
        progress: &dyn Progress,
    ) -> Result<(u64, u64), KeyRotationError> {
        let (mut anew, mut left_alone, mut after) = (0, 0, first());
        loop {
            let rows = self.behind(tenant, number, &after).await?;
            for row in &rows {
                match self.version_of(owner, tenant, row).await? {
                    Some((of, digest)) => {
                        anew += u64::from(self.secrets.vault().rewrap_version(&of, digest, number).await?);
                        progress.advance(1);
                    }
                    None => left_alone += 1,
                }
            }
            match rows.into_iter().last() {
                Some(last) => after = last,
                None => return Ok((anew, left_alone)),
            }
        }
    }

    async fn behind(&self, tenant: TenantId, number: u32, after: &Row) -> Result<Vec<Row>, sqlx::Error> {
        let query = sqlx::query_as(BEHIND)
            .bind(tenant.0)
            .bind(i32::try_from(number).unwrap_or(i32::MAX))
            .bind(&after.0)
            .bind(after.1)
            .bind(&after.2);
        ledger::all(self.log, query).await
    }

    async fn is_in_use(&self, tenant: TenantId, secret: &str) -> Result<bool, LoadError> {
        let loaded = self.commands.secrets.load(tenant, secret).await?;
        Ok(loaded.state.in_use().is_some())
    }

    /// What a row is a version of, if a secret in use owns it.
    async fn version_of(
        &self,
        owner: Owner,
        tenant: TenantId,
        (secret, version, digest): &Row,
    ) -> Result<Option<(VersionOf, ContentDigest)>, LoadError> {
        let loaded = self.commands.secrets.load(tenant, secret).await?;
        let (Some(details), Ok(name)) = (loaded.state.in_use(), secret.parse::<SecretName>()) else {
            return Ok(None);
        };
        let Ok(digest) = <[u8; 32]>::try_from(digest.as_slice()) else {
            return Ok(None);
        };
        let of = VersionOf {
            owner,
            tenant,
            secret: name,
            version: version.unsigned_abs(),
            purpose: details.purpose,
        };
        Ok(Some((of, ContentDigest(digest))))
    }

    async fn recorded(&self, owner: Owner) -> Result<u32, LoadError> {
        let (handler, id) = (&self.commands.vault_keys, owner.organisation.to_string());
        Ok(handler.load_fresh(TenantId::PLATFORM, &id).await?.state.number)
    }

    /// Step 2.
    async fn record(&self, owner: Owner, number: u32) -> Result<Option<Position>, KeyRotationError> {
        let context = CommandContext {
            tenant: TenantId::PLATFORM,
            actor: Actor::system("kms_rotate_key"),
            request_id: Uuid::now_v7().to_string(),
            traceparent: None,
            causation: None,
            idempotency: None,
        };
        let target = Target::Existing(owner.organisation.to_string());
        let command = VaultKeyCommand::Rotate { number };
        let handler = &self.commands.vault_keys;
        let done = handler
            .execute(&context, target, command, Extras::default())
            .await?;
        Ok(done.receipts.first().map(|receipt| receipt.position))
    }
}

/// Before every row.
fn first() -> Row {
    (String::new(), 0, Vec::new())
}
