//! The key process's side: it holds the KEK and answers questions, a bounded number at one time.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::kek::Kek;
use super::wire::{self, Frame, Operation, Status};
use crate::vault::key::Key;

/// Questions at one time; more wait in the kernel's queue.
const AT_ONCE: usize = 32;
/// A question and its answer are two small frames on one machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failed accept (out of descriptors, say) trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The key process cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum KeyServerError {
    /// The socket cannot be made.
    #[error("socket {path}: {source}")]
    Io {
        /// Which socket.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Somebody answers there.
    #[error("socket {0}: another key process answers there; stop it first")]
    Taken(PathBuf),
    /// Nothing to wrap by.
    #[error(
        "there is no key-encryption key; put its file back, or let `counterfoil kms serve --create` make one"
    )]
    NoKek,
}

/// Answers questions about one KEK.
pub struct KeyServer {
    listener: UnixListener,
    kek: Arc<Kek>,
    path: PathBuf,
}

impl KeyServer {
    /// Listens at `path`, for its own user and root. What a process that is gone left there is removed.
    ///
    /// # Errors
    /// See [`KeyServerError`].
    pub async fn bind(path: &Path, kek: Kek) -> Result<Self, KeyServerError> {
        if kek.versions() == 0 {
            return Err(KeyServerError::NoKek);
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(KeyServerError::Taken(path.to_owned()));
        }
        let io = |source| KeyServerError::Io {
            path: path.to_owned(),
            source,
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(io)?;
        // Who connects before this is held up by the check of the peer.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        Ok(Self {
            listener,
            kek: Arc::new(kek),
            path: path.to_owned(),
        })
    }

    /// Answers until it is stopped; then what is being answered is answered, and the socket is removed.
    pub async fn run(self, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut answering = JoinSet::new();
        while let Some(Ok(slot)) = stop.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
            let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await else {
                break;
            };
            while answering.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    let kek = Arc::clone(&self.kek);
                    answering.spawn(async move {
                        let _slot = slot;
                        serve(stream, &kek).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the key process cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        answering.join_all().await;
        // Already gone is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(mut stream: UnixStream, kek: &Kek) {
    if !is_ours(&stream) {
        tracing::warn!("a process of another user asked the key process; it was not answered");
        return;
    }
    match timeout(PATIENCE, converse(&mut stream, kek)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a question to the key process broke off"),
        Err(_) => tracing::warn!("a question to the key process took too long"),
    }
}

/// As the kernel names the other end: our own user, or root, who could read the files anyway.
fn is_ours(stream: &UnixStream) -> bool {
    let uid = stream.peer_cred().map(|peer| peer.uid());
    uid.is_ok_and(|uid| uid == Uid::effective().as_raw() || uid == 0)
}

async fn converse(stream: &mut UnixStream, kek: &Kek) -> std::io::Result<()> {
    let question = wire::receive(stream).await?;
    let answer = match answer(&question, kek) {
        Some(answer) => answer?,
        None => wire::frame(Status::Refused as u8, &[b"not this key, place or question"])?,
    };
    wire::send(stream, &answer).await
}

/// The answer to a question; `None` to one that is refused.
fn answer(question: &[u8], kek: &Kek) -> Option<std::io::Result<Frame>> {
    match Operation::from_byte(*question.first()?)? {
        Operation::Wrap => {
            let (_, [key, aad]) = wire::fields(question)?;
            let (version, wrapped) = kek.wrap(aad, &Key::from_bytes(key)?).ok()??;
            Some(wire::frame(
                Status::Done as u8,
                &[&version.to_be_bytes(), &wrapped.0],
            ))
        }
        Operation::Unwrap => {
            let (_, [version, wrapped, aad]) = wire::fields(question)?;
            let version = u32::from_be_bytes(version.try_into().ok()?);
            let key = kek.unwrap(version, aad, wrapped).ok()?;
            Some(wire::frame(Status::Done as u8, &[key.expose()]))
        }
    }
}
