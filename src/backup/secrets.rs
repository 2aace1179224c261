//! The signing key and the pepper in a backup, against the place where they are to be.
//!
//! They are looked at before anything is made ([`Secrets::check`], which needs only the KMS), and put in place last.

use std::path::{Path, PathBuf};

use counterfoil_events::ids::KeyId;
use counterfoil_events::signature::{KeyPair, Signer};

use super::error::BackupError;
use super::manifest;
use super::whole::WholeBackup;
use crate::config::Config;
use crate::signing::{self, KeyFile, KeyFileError, SealedKey};

/// Where an installation keeps its secrets, and the KMS that opens them.
#[derive(Clone)]
pub struct Secrets {
    /// The signing key.
    pub key_file: KeyFile,
    /// The pepper of API keys.
    pub pepper: PathBuf,
}

impl Secrets {
    /// As it is configured.
    ///
    /// # Errors
    /// When no KMS is.
    pub fn configured(config: &Config) -> Result<Self, BackupError> {
        Ok(Self {
            key_file: KeyFile::configured(config)?,
            pepper: config.auth.key_pepper_file.clone(),
        })
    }

    /// Secrets that are in place already have to be those of the backup, or where it has none, the right ones; and the
    /// KMS has to open the signing key.
    ///
    /// # Errors
    /// What is not so.
    pub async fn check(&self, backup: &WholeBackup) -> Result<(), BackupError> {
        let Self { key_file, pepper } = self;
        if !backup.manifest.has_keys {
            return self.check_own(backup).await;
        }
        let kept = signing::load_secret(&backup.from.join(manifest::PEPPER))?;
        if pepper.exists() && *signing::load_secret(pepper)? != *kept {
            return Err(BackupError::KeyInTheWay(pepper.clone()));
        }
        let kept = self.kept_key(backup).await?;
        if key_file.path().exists() && key_file.id()? != kept {
            return Err(BackupError::KeyInTheWay(key_file.path().to_owned()));
        }
        Ok(())
    }

    async fn check_own(&self, backup: &WholeBackup) -> Result<(), BackupError> {
        let missing = |path: &Path, wanted: String| BackupError::KeysMissing {
            path: path.to_owned(),
            wanted,
        };
        let places = [self.key_file.path(), &self.pepper];
        if let Some(path) = places.into_iter().find(|path| !path.exists()) {
            return Err(missing(path, String::new()));
        }
        let wanted = backup.manifest.key_id;
        if self.key_file.load().await?.public_key().id() != wanted {
            return Err(missing(
                self.key_file.path(),
                format!(" (the signing key {wanted})"),
            ));
        }
        Ok(())
    }

    /// Which signing key the backup holds, opened to see that it can be.
    async fn kept_key(&self, backup: &WholeBackup) -> Result<KeyId, BackupError> {
        let kept = self.key_file.at(&backup.from.join(manifest::SIGNING_KEY));
        let key = match kept.load().await {
            Err(KeyFileError::Unsealed(path)) if backup.manifest.is_unsealed() => {
                KeyPair::from_seed(&*signing::load_secret(&path)?)
            }
            loaded => loaded?,
        };
        Ok(key.public_key().id())
    }

    /// Puts the backup's in place where none are. The signing key is placed as it was sealed; one from before keys were
    /// sealed is sealed now.
    pub(super) async fn place(&self, backup: &WholeBackup) -> Result<Vec<PathBuf>, BackupError> {
        let Self { key_file, pepper } = self;
        let mut placed = Vec::new();
        if !key_file.path().exists() {
            let kept = backup.from.join(manifest::SIGNING_KEY);
            if backup.manifest.is_unsealed() {
                key_file.adopt(&*signing::load_secret(&kept)?).await?;
            } else {
                let sealed = SealedKey::read(&kept)?.to_text();
                signing::place_bytes(key_file.path(), sealed.as_bytes())?;
            }
            placed.push(key_file.path().to_owned());
        }
        if !pepper.exists() {
            let kept = signing::load_secret(&backup.from.join(manifest::PEPPER))?;
            signing::place(pepper, &kept)?;
            placed.push(pepper.clone());
        }
        Ok(placed)
    }
}
