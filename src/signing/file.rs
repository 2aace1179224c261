//! Secrets of 32 bytes in files of 64 hexadecimal digits, readable by their owner only: the signing key (the seed of
//! RFC 8032), and the pepper under which API keys are hashed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use counterfoil_events::signature::KeyPair;
use secrecy::SecretString;
use zeroize::Zeroizing;

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
    /// It does not hold a text.
    #[error("secret file {0}: expected one line of at most {MAX_TEXT_BYTES} bytes")]
    NotALine(PathBuf),
}

/// Loads the signing key, making one first where there is none. Of two processes that start fresh one makes it, both
/// use it.
///
/// # Errors
/// See [`KeyFileError`].
pub fn load_or_create(path: &Path) -> Result<KeyPair, KeyFileError> {
    ensure(path)?;
    load(path)
}

/// Loads the signing key.
///
/// # Errors
/// When it is not there, readable by others, or no key.
pub fn load(path: &Path) -> Result<KeyPair, KeyFileError> {
    Ok(KeyPair::from_seed(&*load_secret(path)?))
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
fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<String>, KeyFileError> {
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
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let text = Zeroizing::new(hex::encode(secret));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .map_err(io)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::remove_file(&draft)
        .and(linked)
        .and_then(|()| File::open(folder.unwrap_or(Path::new(".")))?.sync_all())
        .map_err(io)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use counterfoil_events::signature::Signer;
    use secrecy::ExposeSecret;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("counterfoil-key-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let path = folder("once").join("signing.key");
        let first = load_or_create(&path).unwrap().public_key();
        assert_eq!(load_or_create(&path).unwrap().public_key(), first);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let path = folder("open").join("signing.key");
        load_or_create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load(&path),
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
