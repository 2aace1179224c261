//! The signing key's file, and its successor beside it while a rotation is under way; both sealed (`sealed.rs`).
//!
//! The successor lies in `<key file>.next`. It takes the key's place when the log has introduced it: by the rotation
//! itself, or if that was cut off, by whoever next asks for the key that signs now. So at no moment is the key that the
//! log asks for only in somebody's memory. Who puts anything in the place of what a file holds has the lock
//! `<key file>.lock` meanwhile, so that of a rotation and a new wrapping neither undoes the other.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_events::ids::KeyId;
use counterfoil_events::ledger::{CurrentKey, KeySource};
use counterfoil_events::signature::{KeyPair, Signer};
use futures::future::{BoxFuture, FutureExt as _};

use super::file::{self, KeyFileError};
use super::sealed::SealedKey;
use crate::config::Config;
use crate::vault::{self, Kms};

/// A signing key's place, and the KMS that opens it.
#[derive(Clone)]
pub struct KeyFile {
    path: PathBuf,
    kms: Arc<dyn Kms>,
}

impl KeyFile {
    /// The key at `path`, sealed under `kms`.
    #[must_use]
    pub fn new(path: &Path, kms: Arc<dyn Kms>) -> Self {
        let path = path.to_owned();
        Self { path, kms }
    }

    /// The key that the configuration names, and the KMS that it names.
    ///
    /// # Errors
    /// [`KeyFileError::NoKms`].
    pub fn configured(config: &Config) -> Result<Self, KeyFileError> {
        let kms = vault::kms(&config.vault).ok().flatten();
        let kms = kms.ok_or(KeyFileError::NoKms)?;
        Ok(Self::new(&config.signing.key_file, kms))
    }

    /// Another place, under the same KMS.
    #[must_use]
    pub fn at(&self, path: &Path) -> Self {
        Self::new(path, Arc::clone(&self.kms))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its successor waits.
    #[must_use]
    pub fn next_path(&self) -> PathBuf {
        self.beside(".next")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    /// Makes a key where there is none. Of two processes that start fresh one makes it, both use it.
    ///
    /// # Errors
    /// When the KMS does not seal it, or the file cannot be written.
    pub async fn ensure(&self) -> Result<(), KeyFileError> {
        self.ensure_at(&self.path).await
    }

    async fn ensure_at(&self, path: &Path) -> Result<(), KeyFileError> {
        if path.exists() {
            return Ok(());
        }
        let sealed = SealedKey::generate(&*self.kms).await;
        let sealed = sealed.map_err(KeyFileError::of_kms(path))?;
        file::place_bytes(path, sealed.to_text().as_bytes())
    }

    /// Which key is here, by the file's own word; the KMS is not asked.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no sealed key.
    pub fn id(&self) -> Result<KeyId, KeyFileError> {
        Ok(SealedKey::read(&self.path)?.id())
    }

    /// The key.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    pub async fn load(&self) -> Result<KeyPair, KeyFileError> {
        let sealed = SealedKey::read(&self.path)?;
        sealed.open(&*self.kms, &self.path).await
    }

    /// The key, for a process to begin with; it finds later ones here.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn current(&self) -> Result<CurrentKey, KeyFileError> {
        let key = Arc::new(self.load().await?);
        Ok(CurrentKey::new(key, Arc::new(self.clone())))
    }

    /// Makes a successor, or finds the one that was made.
    ///
    /// # Errors
    /// When it cannot be sealed, written, read or opened.
    pub async fn prepare(&self) -> Result<KeyPair, KeyFileError> {
        let next = self.next_path();
        self.ensure_at(&next).await?;
        SealedKey::read(&next)?.open(&*self.kms, &next).await
    }

    /// Puts the successor into the key's place, if it is still that one: the old key is gone then.
    fn promote(&self, id: KeyId) -> Result<(), KeyFileError> {
        let _lock = self.lock()?;
        let next = self.next_path();
        // Another process may have been quicker: then it is in its place.
        if !next.exists() || SealedKey::read(&next)?.id() != id {
            return Ok(());
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let promoted = std::fs::rename(next, &self.path)
            .and_then(|()| File::open(folder.unwrap_or(Path::new(".")))?.sync_all());
        promoted.map_err(self.io())
    }

    /// The key with this name, here or in the successor's place, from which it is promoted.
    ///
    /// # Errors
    /// When a file is there and cannot be read, opened or promoted.
    pub async fn find_key(&self, id: KeyId) -> Result<Option<KeyPair>, KeyFileError> {
        let next = self.next_path();
        if next.exists() && SealedKey::read(&next)?.id() == id {
            self.promote(id)?;
        }
        let sealed = SealedKey::read(&self.path)?;
        if sealed.id() != id {
            return Ok(None);
        }
        sealed.open(&*self.kms, &self.path).await.map(Some)
    }

    /// Seals the key that `from` holds in the clear, 64 hexadecimal digits, and puts it here; `from` may be this very
    /// file. The file in the clear is removed; its bytes on the disk are not overwritten, which no file system promises.
    ///
    /// # Errors
    /// When another key is here, `from` holds none, or the KMS does not seal it.
    pub async fn import(&self, from: &Path) -> Result<KeyPair, KeyFileError> {
        let key = self.adopt(&*file::load_secret(from)?).await?;
        if from.canonicalize().ok() != self.path.canonicalize().ok() {
            std::fs::remove_file(from).map_err(|source| KeyFileError::Io {
                path: from.to_owned(),
                source,
            })?;
        }
        Ok(key)
    }

    /// Seals the key of this seed and puts it here, where there is none but itself.
    ///
    /// # Errors
    /// When another key is here, or the KMS does not seal it.
    pub async fn adopt(&self, seed: &[u8; 32]) -> Result<KeyPair, KeyFileError> {
        let key = KeyPair::from_seed(seed);
        let sealed = SealedKey::seal(&*self.kms, seed).await;
        let sealed = sealed.map_err(KeyFileError::of_kms(&self.path))?.to_text();
        let _lock = self.lock()?;
        match SealedKey::read(&self.path) {
            Ok(there) if there.id() == key.public_key().id() => {}
            Err(KeyFileError::Unsealed(_)) if *file::load_secret(&self.path)? == *seed => {
                file::replace_bytes(&self.path, sealed.as_bytes())?;
            }
            Err(_) if !self.path.exists() => file::place_bytes(&self.path, sealed.as_bytes())?,
            _ => return Err(KeyFileError::Taken(self.path.clone())),
        }
        Ok(key)
    }

    /// Has the key, and its successor if there is one, wrapped by the newest version of the KEK; says how many were not.
    /// Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::load`], and when a file cannot be written.
    pub async fn rewrap(&self) -> Result<usize, KeyFileError> {
        let mut anew = 0;
        for path in [self.path.clone(), self.next_path()] {
            if !path.exists() {
                continue;
            }
            let before = SealedKey::read(&path)?;
            let Some(after) = before.rewrapped(&*self.kms, &path).await? else {
                continue;
            };
            let _lock = self.lock()?;
            // What has changed meanwhile was sealed meanwhile, or is looked at by the next call.
            if path.exists() && SealedKey::read(&path)? == before {
                file::replace_bytes(&path, after.to_text().as_bytes())?;
                anew += 1;
            }
        }
        Ok(anew)
    }

    /// Held for the time of a few file operations. It goes with the value.
    fn lock(&self) -> Result<File, KeyFileError> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(self.io())?;
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(self.beside(".lock")).map_err(self.io())?;
        file.lock().map_err(self.io())?;
        Ok(file)
    }

    fn io(&self) -> impl Fn(std::io::Error) -> KeyFileError + use<> {
        let path = self.path.clone();
        move |source| KeyFileError::Io {
            path: path.clone(),
            source,
        }
    }
}

impl KeySource for KeyFile {
    fn find(&self, id: KeyId) -> BoxFuture<'_, Option<Arc<dyn Signer>>> {
        async move {
            match self.find_key(id).await {
                Ok(key) => key.map(|key| Arc::new(key) as Arc<dyn Signer>),
                Err(error) => {
                    tracing::error!(%error, key_id = %id, "the signing key that the log asks for cannot be loaded");
                    None
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
