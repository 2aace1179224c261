//! The credentials of an installation that `up` made: generated once, kept in the data directory (0600).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::private_file;

/// The credentials cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what we wrote.
    #[error(
        "{path} is not a file of credentials: {source}; restore it, or begin anew in another data directory"
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where it departs.
        source: serde_json::Error,
    },
}

/// The roles' passwords and the bootstrap token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Of `counterfoil_owner`.
    pub owner_password: SecretString,
    /// Of `counterfoil_app`.
    pub app_password: SecretString,
    /// Of `counterfoil_reader`.
    pub reader_password: SecretString,
    /// Of `counterfoil_log`.
    pub log_password: SecretString,
    /// Of `counterfoil_projector`.
    pub projector_password: SecretString,
    /// By which everything is administered.
    pub bootstrap_token: SecretString,
}

/// As it is written: the one place where the secrets are text.
#[derive(Serialize)]
struct Exposed<'a> {
    owner_password: &'a str,
    app_password: &'a str,
    reader_password: &'a str,
    log_password: &'a str,
    projector_password: &'a str,
    bootstrap_token: &'a str,
}

impl Access {
    /// Finds the credentials in the data directory, or makes them.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn load_or_create(data: &Path) -> Result<Self, AccessError> {
        let path = data.join("access.json");
        match path.exists() {
            true => Self::load(&path),
            false => Self::create(&path),
        }
    }

    fn load(path: &Path) -> Result<Self, AccessError> {
        let mut text = String::new();
        let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        read.map_err(|source| AccessError::Io {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| AccessError::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    fn create(path: &Path) -> Result<Self, AccessError> {
        let io = |source| AccessError::Io {
            path: path.to_owned(),
            source,
        };
        let access = Self {
            owner_password: random(),
            app_password: random(),
            reader_password: random(),
            log_password: random(),
            projector_password: random(),
            bootstrap_token: format!("cft_{}", random().expose_secret()).into(),
        };
        let exposed = Exposed {
            owner_password: access.owner_password.expose_secret(),
            app_password: access.app_password.expose_secret(),
            reader_password: access.reader_password.expose_secret(),
            log_password: access.log_password.expose_secret(),
            projector_password: access.projector_password.expose_secret(),
            bootstrap_token: access.bootstrap_token.expose_secret(),
        };
        let text = serde_json::to_vec_pretty(&exposed).map_err(|source| AccessError::Malformed {
            path: path.to_owned(),
            source,
        })?;
        private_file::write(path, &text).map_err(io)?;
        Ok(access)
    }
}

/// 244 random bits as 64 hexadecimal digits.
fn random() -> SecretString {
    format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    )
    .into()
}
