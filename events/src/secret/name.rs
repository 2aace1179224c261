//! What a secret is called, what it is for, and how other events name it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::TenantId;
use crate::text::{TextError, named, text_newtype};

const ALLOWED: &str = "a-z 0-9 _ . -, a letter or digit first";

text_newtype!(
    /// A secret's name in its tenant: `[a-z0-9][a-z0-9_.-]{0,63}`. It stands in paths, so it is never `.` or `..`.
    SecretName, secret_name, { "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$" }
);

fn secret_name(text: &str) -> Result<&str, TextError> {
    let what = "a secret's name";
    let holds = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    let name = named(what, text, 64, ALLOWED, holds)?;
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(name);
    }
    Err(TextError::Character {
        what,
        place: 1,
        allowed: ALLOWED,
    })
}

/// What a secret may be used for. Its ciphertext is bound to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretPurpose {
    /// Calls of a model's provider.
    ProviderKey,
    /// Reads of a KRI's source.
    SourceCredential,
}

impl SecretPurpose {
    /// As it stands in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProviderKey => "provider_key",
            Self::SourceCredential => "source_credential",
        }
    }
}

/// One version of a secret, as other events name it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// In whose log it is.
    pub tenant: TenantId,
    /// Its name there.
    pub secret: SecretName,
    /// Which version.
    pub version: u32,
}
