//! `[signing]`: the key that signs events.

use std::path::PathBuf;

use serde::Deserialize;

/// The key that signs events.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigningConfig {
    /// The key's file, readable by its owner alone (mode 0600).
    pub key_file: PathBuf,
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self {
            key_file: PathBuf::from(".counterfoil/signing.key"),
        }
    }
}
