//! Secrets as the rest of the platform uses them: the log's word on which version counts, and the vault's on what it is.
//!
//! [`Secrets::ready`] is on the way of every call of a provider, so what the log says is remembered for a few seconds: a
//! rotation or retirement by another process holds here after [`REMEMBERED`] at the latest, one by this process at once.
//! What is remembered opens nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use counterfoil_events::command::{CommandContext, CommandError, Extras, LoadError, Target};
use counterfoil_events::ids::{OrganisationId, TenantId};
use counterfoil_events::secret::{SecretCommand, SecretDetails, SecretError, SecretName, SecretPurpose};
use counterfoil_events::text::Code;

use super::key::Plaintext;
use super::kms::KmsError;
use super::sealing::{Owner, Ready, Stored, Vault, VaultError, VersionOf};
use crate::commands::Commands;

/// How long the log's word is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Most secrets that are remembered; one is a few hundred bytes.
const REMEMBERED_MAX: usize = 4096;

/// A secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretUnusable {
    /// There is none, or it is retired.
    #[error("there is no secret {0} in use")]
    NotFound(SecretName),
    /// It is for something else.
    #[error("secret {0} is not for this purpose")]
    OtherPurpose(SecretName),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LoadError),
    /// Its tenant or organisation is not in the platform's log.
    #[error("tenant {0} does not exist")]
    NoTenant(TenantId),
    /// Its use cannot be put on record, so it was not opened.
    #[error("the use of a secret could not be recorded, and it was not opened: {0}")]
    Unrecorded(CommandError<SecretError>),
    /// The vault cannot.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<KmsError> for SecretUnusable {
    fn from(error: KmsError) -> Self {
        Self::Vault(error.into())
    }
}

type Name = (TenantId, SecretName);

/// Finds secrets and makes them ready.
pub struct Secrets {
    vault: Vault,
    commands: Arc<Commands>,
    remembered: Mutex<HashMap<Name, (Instant, Arc<Stored>)>>,
}

impl Secrets {
    /// On a vault and the log.
    #[must_use]
    pub fn new(vault: Vault, commands: Arc<Commands>) -> Self {
        Self {
            vault,
            commands,
            remembered: Mutex::default(),
        }
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The newest version of a secret, so that it can be opened when its use is recorded.
    ///
    /// # Errors
    /// See [`SecretUnusable`].
    pub async fn ready(
        &self,
        tenant: TenantId,
        secret: &SecretName,
        purpose: SecretPurpose,
    ) -> Result<Ready, SecretUnusable> {
        let vault = &self.vault;
        let name = (tenant, secret.clone());
        let stored = match self.recall(&name) {
            Some(stored) => stored,
            None => self.find(vault, &name, purpose).await?,
        };
        let ready = vault.prepare(&stored).await?;
        match ready.of().purpose == purpose {
            true => Ok(ready),
            false => Err(SecretUnusable::OtherPurpose(name.1)),
        }
    }

    /// Opens the newest version of a secret for one use, which `SecretOpened` records first: who (`context`), which version,
    /// and why.
    ///
    /// # Errors
    /// See [`SecretUnusable`]; without the record nothing is opened.
    pub async fn open(
        &self,
        context: &CommandContext,
        secret: &SecretName,
        purpose: SecretPurpose,
        why: Code,
    ) -> Result<Plaintext, SecretUnusable> {
        let ready = match self.record(context, secret, purpose, &why).await {
            // Another process has rotated it since we looked: then the new version is opened, and recorded.
            Err(SecretUnusable::Unrecorded(CommandError::Rejected(SecretError::NotTheNewest { .. }))) => {
                self.changed(context.tenant, secret);
                self.record(context, secret, purpose, &why).await?
            }
            recorded => recorded?,
        };
        Ok(ready.open().map_err(VaultError::from)?)
    }

    async fn record(
        &self,
        context: &CommandContext,
        secret: &SecretName,
        purpose: SecretPurpose,
        why: &Code,
    ) -> Result<Ready, SecretUnusable> {
        let ready = self.ready(context.tenant, secret, purpose).await?;
        let open = SecretCommand::Open {
            version: ready.of().version,
            why: why.clone(),
        };
        let target = Target::Existing(secret.to_string());
        let handler = &self.commands.secrets;
        let recorded = handler.execute(context, target, open, Extras::default()).await;
        recorded.map_err(SecretUnusable::Unrecorded)?;
        Ok(ready)
    }

    /// Forgets the log's word on a secret: it was changed.
    pub fn changed(&self, tenant: TenantId, secret: &SecretName) {
        self.lock().remove(&(tenant, secret.clone()));
    }

    /// The secret as the log has it now.
    ///
    /// # Errors
    /// When the log cannot be read, or it is not in use.
    pub async fn newest(
        &self,
        tenant: TenantId,
        secret: &SecretName,
    ) -> Result<SecretDetails, SecretUnusable> {
        let loaded = self.commands.secrets.load_fresh(tenant, secret.as_str()).await?;
        let details = loaded.state.in_use().cloned();
        details.ok_or_else(|| SecretUnusable::NotFound(secret.clone()))
    }

    /// Secrets in use of a tenant, after `after`, in the order of their names, as the log has them now; `limit` at most.
    ///
    /// # Errors
    /// When Postgres does not answer, or the log cannot be read.
    pub async fn list(
        &self,
        tenant: TenantId,
        after: Option<&SecretName>,
        limit: usize,
    ) -> Result<Vec<(SecretName, SecretDetails)>, SecretUnusable> {
        let mut found = Vec::new();
        let mut after = after.map(ToString::to_string).unwrap_or_default();
        let page = i64::try_from(limit).unwrap_or(i64::MAX);
        while found.len() < limit {
            let names = self.vault.names(tenant, &after, page).await?;
            let Some(last) = names.last().cloned() else {
                break;
            };
            for name in names.iter().filter_map(|name| name.parse::<SecretName>().ok()) {
                let loaded = self.commands.secrets.load(tenant, name.as_str()).await?;
                found.extend(loaded.state.in_use().cloned().map(|details| (name, details)));
            }
            after = last;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Whose key seals the secrets of a tenant.
    ///
    /// # Errors
    /// When the platform's log cannot be read, or does not know the tenant.
    pub async fn owner(&self, tenant: TenantId) -> Result<Owner, SecretUnusable> {
        if tenant.is_platform() {
            return Ok(Owner::PLATFORM);
        }
        let commands = &self.commands;
        let platform = TenantId::PLATFORM;
        let loaded = commands.tenants.load(platform, &tenant.to_string()).await?;
        let details = loaded.state.details.as_ref();
        let organisation = details.ok_or(SecretUnusable::NoTenant(tenant))?.organisation;
        self.owner_of(organisation)
            .await?
            .ok_or(SecretUnusable::NoTenant(tenant))
    }

    /// An organisation as an owner of secrets; the nil id is the platform.
    ///
    /// # Errors
    /// When the platform's log cannot be read.
    pub async fn owner_of(&self, organisation: OrganisationId) -> Result<Option<Owner>, LoadError> {
        if organisation == Owner::PLATFORM.organisation {
            return Ok(Some(Owner::PLATFORM));
        }
        let (handler, id) = (&self.commands.organisations, organisation.to_string());
        let loaded = handler.load(TenantId::PLATFORM, &id).await?;
        Ok(loaded.state.details.as_ref().map(|details| Owner {
            organisation,
            home: details.home_tenant,
        }))
    }

    async fn find(
        &self,
        vault: &Vault,
        name: &Name,
        purpose: SecretPurpose,
    ) -> Result<Arc<Stored>, SecretUnusable> {
        let looked = Instant::now();
        let (tenant, secret) = name;
        let details = self.newest(*tenant, secret).await?;
        if details.purpose != purpose {
            return Err(SecretUnusable::OtherPurpose(secret.clone()));
        }
        // The event's own word: a tenant's organisation never changes, but the ciphertext is bound to this one.
        let owner = self.owner_of(details.organisation).await?;
        let of = VersionOf {
            owner: owner.ok_or(SecretUnusable::NoTenant(*tenant))?,
            tenant: *tenant,
            secret: secret.clone(),
            version: details.version,
            purpose: details.purpose,
        };
        let stored = vault.find(of, details.sealed).await?;
        self.remember(name.clone(), looked, &stored);
        Ok(stored)
    }

    fn recall(&self, name: &Name) -> Option<Arc<Stored>> {
        let remembered = self.lock();
        let (looked, stored) = remembered.get(name)?;
        (looked.elapsed() < REMEMBERED).then(|| Arc::clone(stored))
    }

    fn remember(&self, name: Name, looked: Instant, stored: &Arc<Stored>) {
        let mut remembered = self.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(name, (looked, Arc::clone(stored)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, (Instant, Arc<Stored>)>> {
        // Every change to the map is whole before anything can panic.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
