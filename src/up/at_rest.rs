//! The secrets of an installation that does not run: where they lie, and the KMS that opens them, asked without starting
//! or making anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::Secrets;
use crate::config::Config;
use crate::signing::{KeyFile, KeyFileError};
use crate::stack;
use crate::vault::kms::local::{KekAtRest, KekFolder};
use crate::vault::{self, Kms};

/// Where an installation under `data` keeps its signing key.
pub(super) fn signing_key(data: &Path) -> PathBuf {
    data.join("signing.key")
}

/// Where it keeps the pepper.
pub(super) fn pepper(data: &Path) -> PathBuf {
    data.join("key.pepper")
}

/// The secrets of the installation under `data`; `config` says which KMS, if it is not its own key process.
///
/// # Errors
/// When the key-encryption key is there and cannot be read.
pub fn secrets_at_rest(data: &Path, config: &Config) -> Result<Secrets, KeyFileError> {
    let kms: Arc<dyn Kms> = if config.vault.has_kms() {
        let kms = vault::kms(&config.vault).ok().flatten();
        kms.ok_or(KeyFileError::NoKms)?
    } else {
        Arc::new(KekAtRest::open(KekFolder::new(&stack::kek_dir(data)))?)
    };
    Ok(Secrets {
        key_file: KeyFile::new(&signing_key(data), kms),
        pepper: pepper(data),
    })
}
