//! Small files that must be whole or absent, and readable by nobody else: written beside their place, synced, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StackError;

/// Writes `bytes` to `path` with mode 0600. A crash leaves the old content or the new, never half of it.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StackError> {
    let beside = path.with_extension("new");
    let write = || {
        // An abandoned attempt may have left one; its mode would survive an overwrite.
        match fs::remove_file(&beside) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(StackError::io("write", path))
}

/// Writes `value` as JSON; see [`write_private`].
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StackError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|e| StackError::Damaged {
        file: path.to_path_buf(),
        reason: e.to_string(),
    })?;
    write_private(path, &bytes)
}

/// Reads what [`write_json`] wrote; `None` if there is no such file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StackError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StackError::io("read", path)(e)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| StackError::Damaged {
            file: path.to_path_buf(),
            reason: e.to_string(),
        })
}

/// Makes a directory that only we may enter; one that exists is left as it is. A link to one is followed only if we or
/// root made it: another user's would choose what we work on.
pub(super) fn make_private_dir(path: &Path) -> Result<(), StackError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && is_dir_of_ours(path) => Ok(()),
        made => made.map_err(StackError::io("create", path)),
    }
}

fn is_dir_of_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| {
        let made_by_us = [0, Uid::effective().as_raw()].contains(&found.uid());
        found.is_dir() || (found.is_symlink() && made_by_us && path.is_dir())
    })
}

/// Looks at a directory that somebody else still writes into: a killed program's child is gone soon after it.
const REMOVALS: u32 = 40;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// Removes a directory with all that is in it; there may be none.
pub(super) fn remove_dir_if_any(path: &Path) -> Result<(), StackError> {
    for removal in 1.. {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && removal < REMOVALS => {
                std::thread::sleep(REMOVAL_PAUSE);
            }
            Err(e) => return Err(StackError::io("remove", path)(e)),
            Ok(()) => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_written_file_reads_back_and_is_private() {
        let scratch = Scratch::new();
        let path = scratch.path().join("value.json");
        write_json(&path, &vec![1, 2]).unwrap();
        write_json(&path, &vec![3]).unwrap();
        assert_eq!(read_json::<Vec<i32>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_is_followed_only_if_nobody_else_made_it() {
        let scratch = Scratch::new();
        let (there, link) = (scratch.path().join("there"), scratch.path().join("link"));
        make_private_dir(&there).unwrap();
        make_private_dir(&there).unwrap();
        std::os::unix::fs::symlink(&there, &link).unwrap();
        make_private_dir(&link).unwrap();
        if Uid::effective().is_root() {
            std::os::unix::fs::lchown(&link, Some(65_534), None).unwrap();
            let error = make_private_dir(&link).unwrap_err().to_string();
            assert!(error.contains("link"), "{error}");
        }
    }

    #[test]
    fn an_absent_file_is_none_and_a_damaged_one_is_named() {
        let scratch = Scratch::new();
        let path = scratch.path().join("value.json");
        assert_eq!(read_json::<Vec<i32>>(&path).unwrap(), None);
        fs::write(&path, "{").unwrap();
        let error = read_json::<Vec<i32>>(&path).unwrap_err().to_string();
        assert!(error.contains("value.json is damaged"), "{error}");
    }
}
