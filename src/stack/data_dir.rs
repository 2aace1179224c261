//! The data directory: what lies where, and the lock that keeps a second process out.
//!
//! ```text
//! lock              held (flock) while a stack runs; names the holder
//! state.json        ports, remembered
//! credentials.json  generated passwords, 0600
//! logs/             one log per server
//! run/              process ids of the servers, to recognise leftovers of a crash
//! postgres/         owned by whom Postgres runs as: data/, and run/ for its socket
//! nats/  redis/     configuration (0600, it holds passwords) and data
//! kms/              the key-encryption key (0600), where the stack has a key process
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::error::StackError;
use super::files;
use super::server::ServerKind;

const DIRS: [&str; 5] = ["logs", "run", "nats", "redis", "kms"];
const FILES: [&str; 3] = ["lock", "state.json", "credentials.json"];

/// A data directory that this process has locked. The lock ends with the value, or with the process.
#[derive(Debug)]
pub(super) struct DataDir {
    root: PathBuf,
    /// True when it serves nothing else: all that is in it bears a name of ours.
    exclusive: bool,
    _lock: Lock,
}

/// A file that this process has locked.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it would not do: a child that is being started holds the file, too, until it becomes another program.
        // Should it fail, the lock ends with the last of them.
        let _ = self.0.unlock();
    }
}

impl DataDir {
    /// Makes the directory if needed, and locks it.
    pub fn open(path: &Path) -> Result<Self, StackError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(StackError::io("create", parent))?;
        }
        files::make_private_dir(path)?;
        let root = path.canonicalize().map_err(StackError::io("resolve", path))?;
        let exclusive = fs::read_dir(&root)
            .map_err(StackError::io("read", &root))?
            .all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_ours)));
        let lock = lock(&root)?;
        for name in DIRS {
            files::make_private_dir(&root.join(name))?;
        }
        Ok(Self {
            root,
            exclusive,
            _lock: lock,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state.json")
    }

    pub fn credentials(&self) -> PathBuf {
        credentials_file(&self.root)
    }

    /// Where the key process listens.
    pub fn kms_socket(&self) -> PathBuf {
        self.root.join("run").join("kms.sock")
    }

    pub fn log(&self, kind: ServerKind) -> PathBuf {
        self.root
            .join("logs")
            .join(kind.file_name())
            .with_extension("log")
    }

    pub fn pid_file(&self, kind: ServerKind) -> PathBuf {
        self.root
            .join("run")
            .join(kind.file_name())
            .with_extension("json")
    }

    /// The directory of one server.
    pub fn of(&self, kind: ServerKind) -> PathBuf {
        self.root.join(kind.file_name())
    }
}

/// Where the passwords of the data directory `root` are kept.
pub(super) fn credentials_file(root: &Path) -> PathBuf {
    root.join("credentials.json")
}

fn is_ours(name: &str) -> bool {
    let unfinished = name.strip_suffix(".new").map(|stem| format!("{stem}.json"));
    let name = unfinished.as_deref().unwrap_or(name);
    DIRS.contains(&name) || FILES.contains(&name) || name == ServerKind::Postgres.file_name()
}

fn lock(root: &Path) -> Result<Lock, StackError> {
    let path = root.join("lock");
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(StackError::io("open", &path))?;
    belongs_to_us(root, &file)?;
    let mut held = match file.try_lock() {
        Ok(()) => Lock(file),
        Err(TryLockError::WouldBlock) => return Err(in_use(root, file)),
        Err(TryLockError::Error(e)) => return Err(StackError::io("lock", &path)(e)),
    };
    let mut note = || {
        held.0.set_len(0)?;
        writeln!(held.0, "{}", std::process::id())
    };
    note().map_err(StackError::io("write", &path))?;
    Ok(held)
}

/// Servers of another user (root's, say) would leave files that the owner cannot read at the next start.
fn belongs_to_us(root: &Path, lock: &File) -> Result<(), StackError> {
    let owner = lock.metadata().map_err(StackError::io("read", root))?.uid();
    if owner == Uid::effective().as_raw() {
        return Ok(());
    }
    let owner = User::from_uid(Uid::from_raw(owner))
        .ok()
        .flatten()
        .map_or(owner.to_string(), |user| user.name);
    Err(StackError::OwnedByAnother {
        dir: root.to_path_buf(),
        owner,
    })
}

fn in_use(root: &Path, mut file: File) -> StackError {
    let mut pid = String::new();
    // A holder that has not written its id yet is "unknown"; the refusal stands either way.
    let _read = file.read_to_string(&mut pid);
    let pid = if pid.trim().is_empty() {
        "unknown".to_owned()
    } else {
        pid.trim().to_owned()
    };
    StackError::InUse {
        dir: root.to_path_buf(),
        pid,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_it() {
        let scratch = Scratch::new();
        let held = DataDir::open(&scratch.path().join("data")).unwrap();
        let refused = DataDir::open(held.root()).unwrap_err();
        assert!(matches!(&refused, StackError::InUse { pid, .. } if *pid == std::process::id().to_string()));
        let root = held.root().to_path_buf();
        // As a child has it between its fork and its exec.
        let inherited = held._lock.0.try_clone().unwrap();
        drop(held);
        DataDir::open(&root).unwrap();
        drop(inherited);
    }

    #[test]
    fn a_directory_is_exclusive_unless_something_else_lies_in_it() {
        let scratch = Scratch::new();
        assert!(DataDir::open(scratch.path()).unwrap().is_exclusive());
        fs::write(scratch.path().join("state.new"), "").unwrap();
        assert!(DataDir::open(scratch.path()).unwrap().is_exclusive());
        fs::write(scratch.path().join("thesis.txt"), "").unwrap();
        assert!(!DataDir::open(scratch.path()).unwrap().is_exclusive());
    }
}
