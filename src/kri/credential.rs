//! A source's credential: a secret of its tenant, opened for one fetch.
//!
//! 1. The version is made ready: its ciphertext and its organisation's key are at hand.
//! 2. `SecretOpened` says who opens which version, and why. **If it is not durable, nothing is opened.**
//! 3. The value is opened into memory that is wiped with the last copy of the header.

use std::sync::Arc;

use bytes::Bytes;
use counterfoil_events::command::CommandContext;
use counterfoil_events::kri::source::{SourceConfig, SourceCredential};
use counterfoil_events::secret::{SecretName, SecretPurpose};
use counterfoil_events::text::Code;
use reqwest::header::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::vault::{KmsError, Plaintext, SecretUnusable, Secrets, VaultError};

/// A header that is sent along. It prints nothing of its value.
#[derive(Clone, Debug)]
pub struct Credential {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

/// A credential that cannot be used. The text names the secret; what the vault said is for the operator's log.
#[derive(Debug, thiserror::Error)]
#[error(
    "the credential {secret} cannot be used: it has to be a secret of this tenant in use, with the purpose \
     source_credential, and the vault has to be open"
)]
pub struct CredentialError {
    /// Its name.
    pub secret: SecretName,
    /// What the vault said.
    pub detail: String,
    /// Whether it may be usable later without anyone changing it.
    pub passes: bool,
}

impl CredentialError {
    /// Nobody has opened it: a mistake of the caller's, and no fetch without it.
    pub(super) fn not_opened(credential: &SourceCredential) -> Self {
        Self {
            secret: credential.secret.clone(),
            detail: "it was not opened for this fetch".to_owned(),
            passes: false,
        }
    }
}

impl Credential {
    /// A header of this value.
    ///
    /// # Errors
    /// Says what is wrong with it, and nothing of it.
    pub(super) fn new(credential: &SourceCredential, value: &Plaintext) -> Result<Self, &'static str> {
        let name = HeaderName::from_bytes(credential.header.as_str().as_bytes());
        // Header and clones share these bytes; they are wiped when the last of them goes.
        let shared = Bytes::from_owner(Zeroizing::new(value.expose().to_vec()));
        let mut value = HeaderValue::from_maybe_shared(shared)
            .map_err(|_| "the secret is not what an HTTP header may hold")?;
        value.set_sensitive(true);
        let name = name.map_err(|_| "the header's name is none")?;
        Ok(Self { name, value })
    }

    /// Whether a text holds the credential.
    pub(super) fn is_in(&self, text: &str) -> bool {
        std::str::from_utf8(self.value.as_bytes()).is_ok_and(|value| text.contains(value))
    }
}

/// Opens the credentials that sources name.
#[derive(Clone)]
pub struct Credentials(Arc<Secrets>);

impl Credentials {
    /// From these secrets.
    #[must_use]
    pub fn new(secrets: Arc<Secrets>) -> Self {
        Self(secrets)
    }

    /// The credential of a source, if it has one; `context` says who opens it, `why` what for.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub async fn of(
        &self,
        source: &SourceConfig,
        context: &CommandContext,
        why: Code,
    ) -> Result<Option<Credential>, CredentialError> {
        let Some(credential) = source.credential() else {
            return Ok(None);
        };
        let secret = &credential.secret;
        let unusable = |error: SecretUnusable| CredentialError {
            secret: secret.clone(),
            passes: passes(&error),
            detail: error.to_string(),
        };
        let purpose = SecretPurpose::SourceCredential;
        let opened = self.0.open(context, secret, purpose, why).await;
        let made = Credential::new(credential, &opened.map_err(unusable)?);
        made.map(Some).map_err(|detail| CredentialError {
            secret: secret.clone(),
            detail: detail.to_owned(),
            passes: false,
        })
    }
}

fn passes(error: &SecretUnusable) -> bool {
    matches!(
        error,
        SecretUnusable::Log(_)
            | SecretUnusable::Unrecorded(_)
            | SecretUnusable::Vault(VaultError::Postgres(_) | VaultError::Kms(KmsError::Unavailable(_)))
    )
}
