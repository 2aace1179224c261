//! Whom Postgres runs as. An ordinary user runs it as himself. Postgres refuses root, so root runs it as the owner of
//! the existing data, or as the user that the packages make for it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User};

use super::child::Launch;
use super::error::StackError;

/// Names under which packages create the user: Debian and most others; macOS.
const PACKAGED_USERS: [&str; 2] = ["postgres", "_postgres"];

/// A user other than ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub uid: Uid,
    pub gid: Gid,
    pub name: String,
}

impl Account {
    /// Whom to run Postgres as, given its directory if that exists already; `None` means as ourselves.
    pub fn for_postgres(home: &Path) -> Result<Option<Self>, StackError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        match Self::owner_of(home) {
            Some(owner) => Ok(Some(owner)),
            None => Self::packaged().map(Some),
        }
    }

    fn packaged() -> Result<Self, StackError> {
        PACKAGED_USERS
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self {
                uid: user.uid,
                gid: user.gid,
                name: user.name,
            })
            .ok_or(StackError::NoPostgresUser)
    }

    fn owner_of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok().filter(|metadata| metadata.uid() != 0)?;
        let uid = Uid::from_raw(metadata.uid());
        let name = User::from_uid(uid)
            .ok()
            .flatten()
            .map_or_else(|| uid.to_string(), |user| user.name);
        Some(Self {
            uid,
            gid: Gid::from_raw(metadata.gid()),
            name,
        })
    }

    /// Whether this user can enter `dir`. Tried rather than computed from mode bits, so that access lists and mounts
    /// count as well.
    pub async fn can_enter(&self, dir: &Path) -> Result<bool, StackError> {
        let shell = Path::new("/bin/sh");
        let args = [
            "-c".into(),
            "cd -- \"$1\"".into(),
            "sh".into(),
            dir.as_os_str().to_owned(),
        ];
        let launch = Launch {
            program: shell,
            args: &args,
            dir: Path::new("/"),
            account: Some(self),
            death_signal: Signal::SIGKILL,
        };
        let status = launch
            .command()
            .stderr(std::process::Stdio::null())
            .status()
            .await
            .map_err(StackError::io("run", shell))?;
        Ok(status.success())
    }

    /// Gives `path` to this user; a link itself, never what it points to.
    pub fn own(&self, path: &Path) -> Result<(), StackError> {
        std::os::unix::fs::lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(StackError::io("change the owner of", path))
    }
}
