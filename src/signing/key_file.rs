//! The signing key's file, and its successor beside it while a rotation is under way.
//!
//! The successor lies in `<key file>.next`. It takes the key's place when the log has introduced it: by the rotation
//! itself, or if that was cut off, by whoever next asks for the key that signs now. So at no moment is the key that the
//! log asks for only in somebody's memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_events::ids::KeyId;
use counterfoil_events::ledger::{CurrentKey, KeySource};
use counterfoil_events::signature::{KeyPair, Signer};

use super::file::{KeyFileError, ensure, load};

/// A signing key's place.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The key at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its successor waits.
    #[must_use]
    pub fn next_path(&self) -> PathBuf {
        let mut next = self.path.as_os_str().to_owned();
        next.push(".next");
        next.into()
    }

    /// The key, for a process to begin with; it finds later ones here.
    ///
    /// # Errors
    /// When the key cannot be loaded.
    pub fn current(&self) -> Result<CurrentKey, KeyFileError> {
        let key = Arc::new(load(&self.path)?);
        Ok(CurrentKey::new(key, Arc::new(self.clone())))
    }

    /// The successor, if there is one.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn next(&self) -> Result<Option<KeyPair>, KeyFileError> {
        let next = self.next_path();
        if next.exists() {
            load(&next).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Makes a successor, or finds the one that was made.
    ///
    /// # Errors
    /// When the file cannot be written or read.
    pub fn prepare(&self) -> Result<KeyPair, KeyFileError> {
        let next = self.next_path();
        ensure(&next)?;
        load(&next)
    }

    /// Puts the successor into the key's place: the old key is gone then.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn promote(&self) -> Result<(), KeyFileError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let promoted = std::fs::rename(self.next_path(), &self.path)
            .and_then(|()| File::open(folder.unwrap_or(Path::new(".")))?.sync_all());
        promoted.map_err(|source| KeyFileError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// The key with this name, here or in the successor's place, from which it is promoted.
    ///
    /// # Errors
    /// When a file is there and cannot be loaded or promoted.
    pub fn find_key(&self, id: KeyId) -> Result<Option<KeyPair>, KeyFileError> {
        let is_it = |key: &KeyPair| key.public_key().id() == id;
        if let Some(next) = self.next()?.filter(is_it) {
            match self.promote() {
                // Another process was quicker: then it is in its place.
                Err(KeyFileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                promoted => promoted?,
            }
            return Ok(Some(next));
        }
        Ok(Some(load(&self.path)?).filter(is_it))
    }
}

impl KeySource for KeyFile {
    fn find(&self, id: KeyId) -> Option<Arc<dyn Signer>> {
        match self.find_key(id) {
            Ok(key) => key.map(|key| Arc::new(key) as Arc<dyn Signer>),
            Err(error) => {
                tracing::error!(%error, key_id = %id, "the signing key that the log asks for cannot be loaded");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::super::file::load_or_create;
    use super::*;

    #[test]
    fn a_successor_takes_the_place_when_it_is_asked_for_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(&directory.path().join("signing.key"));
        let first = load_or_create(file.path()).unwrap().public_key().id();
        let next = file.prepare().unwrap().public_key().id();
        assert_eq!(file.prepare().unwrap().public_key().id(), next, "made once");
        let find = |id| file.find_key(id).unwrap().map(|key| key.public_key().id());
        assert_eq!(find(first), Some(first));
        assert!(file.next_path().exists());
        assert_eq!(find(next), Some(next));
        assert!(!file.next_path().exists());
        assert_eq!((find(next), find(first)), (Some(next), None));
        let mode = file.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
