//! The KEK's versions: files `kek-1.key`, `kek-2.key` … in one folder, each as `signing::file` keeps secrets.
//!
//! The highest number wraps; every one that is there unwraps. A version's file goes only when nothing is wrapped by it any
//! more: what is wrapped by a lost KEK is lost. So the first one is made once only: `kek.made` beside it remembers that it
//! was, and where the key is gone and the note is not, none is made in its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::signing::{self, KeyFileError};
use crate::vault::key::{Key, NoRandomness};
use crate::vault::seal::{self, Sealed, Unopened};

/// Most versions of a KEK: one a month for a lifetime.
const VERSIONS_MAX: u32 = 1000;

/// The folder that holds the KEK.
#[derive(Debug, Clone)]
pub struct KekFolder(PathBuf);

impl KekFolder {
    /// In this place.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The file of a version.
    #[must_use]
    pub fn file(&self, version: u32) -> PathBuf {
        self.0.join(format!("kek-{version}.key"))
    }

    /// Makes the first version where there is none and never was.
    ///
    /// # Errors
    /// When it cannot be written, or was made before and is gone.
    pub fn ensure(&self) -> Result<(), KeyFileError> {
        let note = self.0.join("kek.made");
        if self.versions().next().is_none() {
            if note.exists() {
                return Err(KeyFileError::Gone(self.file(1)));
            }
            signing::ensure(&self.file(1))?;
        }
        // After the key: a note without a key would keep the first from being made.
        if !note.exists() {
            let text = "A key-encryption key was made in this folder. If its files are gone, restore them.\n";
            let written = std::fs::write(&note, text);
            written.map_err(|source| KeyFileError::Io { path: note, source })?;
        }
        Ok(())
    }

    /// Makes the next version; a key process that starts after this wraps by it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_version(&self) -> Result<u32, KeyFileError> {
        let next = self.versions().last().unwrap_or(0) + 1;
        signing::ensure(&self.file(next))?;
        Ok(next)
    }

    /// Reads every version.
    ///
    /// # Errors
    /// When a file is readable by others, or no key.
    pub fn load(&self) -> Result<Kek, KeyFileError> {
        let mut versions = BTreeMap::new();
        for version in self.versions() {
            let bytes = signing::load_secret(&self.file(version))?;
            // A secret file has as many bytes as a key.
            versions.extend(Key::from_bytes(&*bytes).map(|key| (version, key)));
        }
        Ok(Kek(versions))
    }

    fn versions(&self) -> impl Iterator<Item = u32> {
        (1..=VERSIONS_MAX).filter(|version| self.file(*version).exists())
    }
}

/// All versions of a KEK.
pub struct Kek(BTreeMap<u32, Key>);

impl Kek {
    /// How many versions there are.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.0.len()
    }

    /// Wraps by the newest version; `None` without any.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn wrap(&self, aad: &[u8], key: &Key) -> Result<Option<(u32, Sealed)>, NoRandomness> {
        let Some((version, kek)) = self.0.last_key_value() else {
            return Ok(None);
        };
        Ok(Some((*version, seal::wrap(kek, aad, key)?)))
    }

    /// Unwraps by the version that wrapped.
    ///
    /// # Errors
    /// [`Unopened`], also when the version is not there.
    pub fn unwrap(&self, version: u32, aad: &[u8], wrapped: &[u8]) -> Result<Key, Unopened> {
        seal::unwrap(self.0.get(&version).ok_or(Unopened)?, aad, wrapped)
    }
}
