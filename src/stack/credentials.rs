//! Passwords of the private servers: generated once, kept in a 0600 file, never on a command line or in a log.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::data_dir::DataDir;
use super::error::StackError;
use super::files;
use super::server::ServerKind;

/// One password per server.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub postgres: SecretString,
    pub nats: SecretString,
    pub redis: SecretString,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    postgres: String,
    nats: String,
    redis: String,
}

impl Credentials {
    /// Reads them, or generates and keeps them at the first start. Existing data without them is an error: new
    /// passwords would not open it.
    pub fn load_or_create(data_dir: &DataDir) -> Result<Self, StackError> {
        let path = data_dir.credentials();
        if let Some(file) = files::read_json::<File>(&path)? {
            return Ok(file.into());
        }
        if data_dir.of(ServerKind::Postgres).exists() {
            return Err(StackError::CredentialsMissing {
                dir: data_dir.root().to_path_buf(),
                file: path,
            });
        }
        let made = Self {
            postgres: generate(),
            nats: generate(),
            redis: generate(),
        };
        made.write(&path)?;
        Ok(made)
    }

    fn write(&self, path: &Path) -> Result<(), StackError> {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        let file = File {
            postgres: text(&self.postgres),
            nats: text(&self.nats),
            redis: text(&self.redis),
        };
        files::write_json(path, &file)
    }
}

impl From<File> for Credentials {
    fn from(file: File) -> Self {
        Self {
            postgres: file.postgres.into(),
            nats: file.nats.into(),
            redis: file.redis.into(),
        }
    }
}

/// 244 random bits in hexadecimal: no character of it needs quoting in a URL or a configuration file.
fn generate() -> SecretString {
    let half = || uuid::Uuid::new_v4().simple();
    format!("{}{}", half(), half()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn the_second_start_finds_the_passwords_of_the_first() {
        let scratch = Scratch::new();
        let data_dir = DataDir::open(scratch.path()).unwrap();
        let first = Credentials::load_or_create(&data_dir).unwrap();
        let second = Credentials::load_or_create(&data_dir).unwrap();
        assert_eq!(first.nats.expose_secret(), second.nats.expose_secret());
        assert_ne!(first.nats.expose_secret(), first.redis.expose_secret());
        assert_eq!(first.postgres.expose_secret().len(), 64);
    }

    #[test]
    fn data_without_its_passwords_is_refused() {
        let scratch = Scratch::new();
        let data_dir = DataDir::open(scratch.path()).unwrap();
        std::fs::create_dir(data_dir.of(ServerKind::Postgres)).unwrap();
        let refused = Credentials::load_or_create(&data_dir).unwrap_err();
        assert!(matches!(refused, StackError::CredentialsMissing { .. }));
    }
}
