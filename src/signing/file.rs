//! Secrets in files that nobody but their owner may read: 32 bytes as 64 hexadecimal digits (the pepper under which API
//! keys are hashed, a key-encryption key), one line of text (a provider's key), or sealed bytes (the signing key,
//! `sealed.rs`).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::vault::{KmsError, Unopened};

/// Longest text of a secret: an API key has some hundred bytes at most.
const MAX_TEXT_BYTES: u64 = 4096;

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("secret file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error(
        "secret file {path} has mode {mode:04o}: others could read it. Run `chmod 600` on it, and replace the secret if they may have"
    )]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("secret file {0}: expected 64 hexadecimal digits")]
    Malformed(PathBuf),
    /// It was made once, and is not there any more.
    #[error("secret file {0} was made once and is gone: restore it; another in its place would open nothing")]
    Gone(PathBuf),
    /// It holds the signing key in the clear.
    #[error(
        "{0} holds a signing key that is not sealed: seal it with `counterfoil keys import {0}` (the KMS has to be \
         there), then destroy its copies"
    )]
    Unsealed(PathBuf),
    /// It does not hold a sealed key.
    #[error("{0} holds no sealed signing key: restore it")]
    NotSealed(PathBuf),
    /// The sealed key does not open by this KMS.
    #[error(
        "the signing key in {path} does not open by this KMS ({reason}): it was sealed under another key-encryption \
         key; put that one in its place first"
    )]
    Shut {
        /// Which file.
        path: PathBuf,
        /// Which layer refused.
        reason: String,
    },
    /// The KMS does not answer.
    #[error("the signing key in {path} cannot be opened or sealed now: {source}")]
    Kms {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: KmsError,
    },
    /// There is no KMS.
    #[error(
        "no KMS is configured, and the signing key is kept sealed: start `counterfoil kms serve` and name its socket in \
         vault.socket, or set vault.google_key"
    )]
    NoKms,
    /// Another key is there.
    #[error("{0} holds another signing key already: move it away first")]
    Taken(PathBuf),
    /// It does not hold a text.
    #[error("secret file {0}: expected one line of at most {MAX_TEXT_BYTES} bytes")]
    NotALine(PathBuf),
}

/// Makes a secret where there is none.
///
/// # Errors
/// When the file cannot be written.
pub fn ensure(path: &Path) -> Result<(), KeyFileError> {
    if path.exists() { Ok(()) } else { create(path) }
}

/// Loads 32 secret bytes.
///
/// # Errors
/// When they are not there, or readable by others.
pub fn load_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let text = read_private(path, 80)?;
    let mut seed = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(text.trim_end(), seed.as_mut())
        .map_err(|_| KeyFileError::Malformed(path.to_owned()))?;
    Ok(seed)
}

/// Loads a secret that is a text, such as a provider's key: one line, without the white space around it.
///
/// # Errors
/// When it is not there, readable by others, empty, or longer than a line may be.
pub fn load_text(path: &Path) -> Result<SecretString, KeyFileError> {
    let text = read_private(path, MAX_TEXT_BYTES + 1)?;
    let line = text.trim();
    let is_line = !line.is_empty() && !line.contains('\n') && text.len() as u64 <= MAX_TEXT_BYTES;
    match is_line {
        true => Ok(SecretString::from(line)),
        false => Err(KeyFileError::NotALine(path.to_owned())),
    }
}

/// At most `limit` bytes of a file that nobody but its owner may read.
pub(super) fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<String>, KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    // As large as it may get: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(limit).unwrap_or(0)));
    file.take(limit).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Makes a fresh secret.
fn create(path: &Path) -> Result<(), KeyFileError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    let filled = File::open("/dev/urandom").and_then(|mut random| random.read_exact(seed.as_mut()));
    filled.map_err(|source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    })?;
    place(path, &seed)
}

/// Writes a secret beside the path and links it there: whole or not at all, and never over another's.
///
/// # Errors
/// When the file cannot be written.
pub fn place(path: &Path, secret: &[u8; 32]) -> Result<(), KeyFileError> {
    place_bytes(path, Zeroizing::new(hex::encode(secret)).as_bytes())
}

/// The same with any bytes.
pub(crate) fn place_bytes(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    written(path, bytes, |draft| match std::fs::hard_link(draft, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => std::fs::remove_file(draft),
        linked => linked.and_then(|()| std::fs::remove_file(draft)),
    })
}

/// Puts bytes into the place of what a file holds.
pub(super) fn replace_bytes(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    written(path, bytes, |draft| std::fs::rename(draft, path))
}

/// Writes a draft beside the path, synced, lets `publish` give it its name, and syncs the folder.
fn written(
    path: &Path,
    bytes: &[u8],
    publish: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .map_err(io)?;
    let published = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| publish(&draft));
    if published.is_err() {
        // Perhaps it was never there; the first error is the one to tell.
        let _ = std::fs::remove_file(&draft);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    published
        .and_then(|()| File::open(folder.unwrap_or(Path::new(".")))?.sync_all())
        .map_err(io)
}

impl KeyFileError {
    /// What the KMS, or the cipher, says of the key in `path`.
    pub(super) fn of_kms(path: &Path) -> impl Fn(KmsError) -> Self + use<> {
        let path = path.to_owned();
        move |error| match error {
            KmsError::Refused(reason) => Self::Shut {
                path: path.clone(),
                reason,
            },
            source => Self::Kms {
                path: path.clone(),
                source,
            },
        }
    }

    pub(super) fn unopened(path: &Path) -> impl Fn(Unopened) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Shut {
            path: path.clone(),
            reason: error.to_string(),
        }
    }

    /// Whether waiting may help, and nothing else has to be done.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Kms { .. })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("counterfoil-key-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_secret_is_made_once_and_found_again() {
        let path = folder("once").join("key.pepper");
        ensure(&path).unwrap();
        let first = load_secret(&path).unwrap();
        ensure(&path).unwrap();
        place(&path, &[1; 32]).unwrap();
        assert_eq!(load_secret(&path).unwrap(), first, "never over another's");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let path = folder("open").join("key.pepper");
        ensure(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load_secret(&path),
            Err(KeyFileError::TooOpen { mode: 0o644, .. })
        ));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_text_is_one_line_that_nobody_else_can_read() {
        let path = folder("text").join("provider.key");
        let private = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            load_text(&path)
        };
        assert_eq!(private("sk-one\n", 0o600).unwrap().expose_secret(), "sk-one");
        assert!(matches!(
            private("sk-one\n", 0o640),
            Err(KeyFileError::TooOpen { .. })
        ));
        for wrong in ["", "\n", "one\ntwo\n", &"x".repeat(5_000)] {
            assert!(matches!(private(wrong, 0o600), Err(KeyFileError::NotALine(_))));
        }
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
