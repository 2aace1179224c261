//! The asking side: one connection for one question. It is asked once in minutes for an organisation, so there is no
//! connection to keep.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use nix::unistd::Uid;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{self, Frame, Operation, Status};
use crate::vault::key::Key;
use crate::vault::kms::{Kms, KmsError, Wrapped};

/// As long as the server takes at the most, and a little more.
const PATIENCE: Duration = Duration::from_secs(6);
/// How the KEK's versions are named in rows.
pub(super) const PREFIX: &str = "local/";

/// The KMS behind a Unix socket.
#[derive(Debug, Clone)]
pub struct LocalKms {
    socket: PathBuf,
}

impl LocalKms {
    /// The key process that listens at `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        let socket = socket.to_owned();
        Self { socket }
    }

    async fn ask(&self, question: &[u8]) -> Result<Frame, KmsError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            KmsError::Unavailable(format!("key process at {}: {error}", self.socket.display()))
        };
        let asked = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            self.is_whom_we_trust(&stream)?;
            wire::send(&mut stream, question).await?;
            wire::receive(&mut stream).await
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unavailable(&error)),
            Err(_) => Err(unavailable(&format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
}

impl LocalKms {
    /// Whoever got hold of the path could otherwise answer in the key process's place, and be shown data keys.
    fn is_whom_we_trust(&self, stream: &UnixStream) -> std::io::Result<()> {
        let folder = self
            .socket
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let owner = std::fs::metadata(folder.unwrap_or(Path::new(".")))?.uid();
        let peer = stream.peer_cred()?.uid();
        if is_trusted(peer, Uid::effective().as_raw(), owner) {
            return Ok(());
        }
        Err(std::io::Error::other(format!(
            "user {peer} answers there, who is nobody to be shown keys"
        )))
    }
}

/// Root, our own user; and, to root alone, the owner of the folder that the socket is in.
fn is_trusted(peer: u32, ours: u32, owner: u32) -> bool {
    peer == 0 || peer == ours || (ours == 0 && peer == owner)
}

impl Kms for LocalKms {
    fn wrap<'a>(&'a self, key: &'a Key, aad: &'a [u8]) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        async move {
            let question = question(Operation::Wrap, &[key.expose(), aad])?;
            let answer = self.ask(&question).await?;
            let [version, bytes] = done(&answer)?;
            let version = version.try_into().map_err(|_| malformed())?;
            Ok(Wrapped {
                kek: format!("{PREFIX}{}", u32::from_be_bytes(version)),
                bytes: bytes.to_vec(),
            })
        }
        .boxed()
    }

    fn unwrap_key<'a>(&'a self, wrapped: &'a Wrapped, aad: &'a [u8]) -> BoxFuture<'a, Result<Key, KmsError>> {
        async move {
            let version = version_of(wrapped)?;
            let question = question(Operation::Unwrap, &[&version.to_be_bytes(), &wrapped.bytes, aad])?;
            let answer = self.ask(&question).await?;
            let [key] = done(&answer)?;
            Key::from_bytes(key).ok_or_else(malformed)
        }
        .boxed()
    }
}

/// Which version of the KEK wrapped it.
pub(super) fn version_of(wrapped: &Wrapped) -> Result<u32, KmsError> {
    let number = wrapped
        .kek
        .strip_prefix(PREFIX)
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| KmsError::Refused(format!("{} is no key of a key process", wrapped.kek)))
}

fn question(operation: Operation, fields: &[&[u8]]) -> Result<Frame, KmsError> {
    wire::frame(operation as u8, fields)
        .map_err(|_| KmsError::Refused("more than a question may hold".to_owned()))
}

/// The fields of an answer that says it is done.
fn done<const N: usize>(answer: &[u8]) -> Result<[&[u8]; N], KmsError> {
    match answer.first().copied().and_then(Status::from_byte) {
        Some(Status::Done) => wire::fields(answer)
            .map(|(_, fields)| fields)
            .ok_or_else(malformed),
        Some(Status::Refused) => Err(KmsError::Refused("not this key, place or question".to_owned())),
        None => Err(malformed()),
    }
}

fn malformed() -> KmsError {
    KmsError::Damaged("it is not one of a key process".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_ones_own_user_are_shown_keys() {
        assert!(is_trusted(0, 1000, 1000) && is_trusted(1000, 1000, 0));
        assert!(
            !is_trusted(1001, 1000, 1001),
            "whoever owns the folder is nobody to another user"
        );
        assert!(is_trusted(107, 0, 107), "root trusts whom it gave the folder");
        assert!(!is_trusted(1001, 0, 107));
    }
}
