//! The KEK asked without a key process: for a command that has to know, before it starts any server, whether what is
//! sealed will open there. It makes no key and keeps none longer than the command runs.

use futures::future::{BoxFuture, FutureExt as _};

use super::client::{PREFIX, version_of};
use super::kek::{Kek, KekFolder};
use super::process::keep_out_of_dumps;
use crate::signing::KeyFileError;
use crate::vault::key::Key;
use crate::vault::kms::{Kms, KmsError, Wrapped};

/// The KEK in a folder, as it lies there.
pub struct KekAtRest {
    folder: KekFolder,
    kek: Kek,
}

impl KekAtRest {
    /// Reads it; a folder that is not there holds none.
    ///
    /// # Errors
    /// When a file is readable by others, or no key.
    pub fn open(folder: KekFolder) -> Result<Self, KeyFileError> {
        // As in the key process itself: before a KEK is read.
        keep_out_of_dumps().map_err(|source| KeyFileError::Io {
            path: folder.file(1),
            source,
        })?;
        let kek = folder.load()?;
        Ok(Self { folder, kek })
    }
}

impl Kms for KekAtRest {
    fn wrap<'a>(&'a self, key: &'a Key, aad: &'a [u8]) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        let wrap = || {
            let wrapped = self.kek.wrap(aad, key);
            let wrapped = wrapped.map_err(|error| KmsError::Unavailable(error.to_string()))?;
            let (version, sealed) = wrapped.ok_or_else(|| {
                KmsError::Refused(format!("{} is not there", self.folder.file(1).display()))
            })?;
            Ok(Wrapped {
                kek: format!("{PREFIX}{version}"),
                bytes: sealed.0,
            })
        };
        std::future::ready(wrap()).boxed()
    }

    fn unwrap_key<'a>(&'a self, wrapped: &'a Wrapped, aad: &'a [u8]) -> BoxFuture<'a, Result<Key, KmsError>> {
        let unwrap = || {
            let version = version_of(wrapped)?;
            let file = self.folder.file(version);
            if !file.exists() {
                return Err(KmsError::Refused(format!("{} is not there", file.display())));
            }
            let key = self.kek.unwrap(version, aad, &wrapped.bytes);
            key.map_err(|error| KmsError::Refused(error.to_string()))
        };
        std::future::ready(unwrap()).boxed()
    }
}
