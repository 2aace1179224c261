//! Taking back what a start made in a data directory, where what it was started for comes to nothing: a `restore` that is
//! refused leaves the directory as it found it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A data directory as it was before a start.
#[derive(Debug)]
pub struct Before {
    root: PathBuf,
    /// What lay in it; nothing where it was not there itself.
    names: Option<BTreeSet<OsString>>,
}

impl Before {
    /// Looks at it.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn look(root: &Path) -> io::Result<Self> {
        let names = match names(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            names => Some(names?),
        };
        Ok(Self {
            root: root.to_owned(),
            names,
        })
    }

    /// Removes what has come since. Nothing may run there any more. What was there stays as it is now, so a database that
    /// was there before keeps what it holds.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn take_back(self) -> io::Result<()> {
        let now = match names(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            now => now?,
        };
        let before = self.names.as_ref();
        for name in now {
            if before.is_none_or(|before| !before.contains(&name)) {
                remove(&self.root.join(name))?;
            }
        }
        match before {
            Some(_) => Ok(()),
            None => fs::remove_dir(&self.root),
        }
    }
}

fn names(root: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(root)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect()
}

/// With what a link leads to: run by root, Postgres's directory may lie elsewhere (`home.rs`), and was made with the link.
fn remove(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        let target = path.canonicalize()?;
        fs::remove_dir_all(target)?;
        return fs::remove_file(path);
    }
    if found.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn what_was_there_stays_and_what_came_goes_with_what_it_leads_to() {
        let scratch = Scratch::new();
        let (root, elsewhere) = (scratch.path().join("data"), scratch.path().join("elsewhere"));
        fs::create_dir_all(root.join("kms")).unwrap();
        fs::write(root.join("kms/kek-1.key"), "key").unwrap();
        let before = Before::look(&root).unwrap();
        fs::create_dir_all(root.join("logs")).unwrap();
        fs::create_dir_all(elsewhere.join("data")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("postgres")).unwrap();
        before.take_back().unwrap();
        assert_eq!(names(&root).unwrap(), BTreeSet::from(["kms".into()]));
        assert!(root.join("kms/kek-1.key").exists() && !elsewhere.exists());
    }

    #[test]
    fn a_directory_that_was_not_there_goes_whole() {
        let scratch = Scratch::new();
        let root = scratch.path().join("data");
        let before = Before::look(&root).unwrap();
        fs::create_dir_all(root.join("redis")).unwrap();
        before.take_back().unwrap();
        assert!(!root.exists());
        Before::look(&root).unwrap().take_back().unwrap();
    }
}
