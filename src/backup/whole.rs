//! A backup that was found whole: its manifest is of a kind that this build knows, and every file has its digest.

use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::file;
use super::manifest::Manifest;

/// A backup that was found whole.
#[derive(Debug)]
pub struct WholeBackup {
    /// The directory.
    pub from: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
}

impl WholeBackup {
    /// Reads every file of it once.
    ///
    /// # Errors
    /// When it is no backup, of a later build, or not as it was written.
    pub async fn open(from: &Path) -> Result<Self, BackupError> {
        let manifest = Manifest::read(from)?;
        for entry in &manifest.files {
            file::read(from, entry, async |_| Ok(())).await?;
        }
        Ok(Self {
            from: from.to_owned(),
            manifest,
        })
    }
}
