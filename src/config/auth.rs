//! `[auth]`: the bootstrap token, by which everything is administered until there are users.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::check::Checks;

/// Shortest token: 128 bits in base64 and more.
const MIN_TOKEN_BYTES: usize = 32;

/// Who administers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// `serve` requires it; `up` makes and prints one.
    pub bootstrap_token: Option<SecretString>,
    /// The file of the pepper under which API keys are hashed (mode 0600). Without it no key works.
    pub key_pepper_file: PathBuf,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            bootstrap_token: None,
            key_pepper_file: PathBuf::from(".counterfoil/key.pepper"),
        }
    }
}

impl AuthConfig {
    pub(super) fn check(&self, checks: &mut Checks) {
        let Some(token) = &self.bootstrap_token else {
            return;
        };
        let token = token.expose_secret();
        let sound =
            (MIN_TOKEN_BYTES..=1024).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        checks.require(
            "auth.bootstrap_token",
            sound,
            "must be 32 to 1024 visible ASCII characters",
        );
    }
}
