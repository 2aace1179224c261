//! `[vault]`: the KMS that holds the key-encryption key.

use std::path::PathBuf;

use serde::Deserialize;

use super::check::Checks;

/// The KMS that holds the key-encryption key: one of the two, or none, and then there are no secrets.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaultConfig {
    /// The socket of the local key process, `counterfoil kms serve`.
    pub socket: Option<PathBuf>,
    /// A symmetric key in Google Cloud KMS: `projects/…/locations/…/keyRings/…/cryptoKeys/…`.
    pub google_key: Option<String>,
    /// Google's API, or a private endpoint for it.
    pub google_endpoint: String,
}

impl Default for VaultConfig {
    fn default() -> Self {
        Self {
            socket: None,
            google_key: None,
            google_endpoint: "https://cloudkms.googleapis.com".to_owned(),
        }
    }
}

impl VaultConfig {
    /// Whether there is a KMS.
    #[must_use]
    pub fn has_kms(&self) -> bool {
        self.socket.is_some() || self.google_key.is_some()
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let both = self.socket.is_some() && self.google_key.is_some();
        checks.require("vault.socket", !both, "and vault.google_key exclude each other");
        let parts = |key: &String| {
            let parts: Vec<&str> = key.split('/').collect();
            let names = parts.iter().skip(1).step_by(2);
            let plain = |name: &&str| {
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
                !name.is_empty() && name.bytes().all(plain)
            };
            let kinds: Vec<&str> = parts.iter().step_by(2).copied().collect();
            parts.len() == 8
                && kinds == ["projects", "locations", "keyRings", "cryptoKeys"]
                && names.clone().all(plain)
        };
        checks.require(
            "vault.google_key",
            self.google_key.as_ref().is_none_or(parts),
            "must be projects/…/locations/…/keyRings/…/cryptoKeys/…, without a version",
        );
        // A token goes there.
        let loopback = self.google_endpoint.starts_with("http://127.0.0.1:");
        checks.require(
            "vault.google_endpoint",
            self.google_endpoint.starts_with("https://") || loopback,
            "must be https://…",
        );
    }
}
