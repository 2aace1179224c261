//! The bodies of the API: bytes in base64, each beside its CRC32C.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::crc32c;
use crate::vault::key::Key;
use crate::vault::kms::KmsError;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Encrypt<'a> {
    plaintext: &'a str,
    plaintext_crc32c: String,
    additional_authenticated_data: String,
    additional_authenticated_data_crc32c: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Decrypt {
    ciphertext: String,
    ciphertext_crc32c: String,
    additional_authenticated_data: String,
    additional_authenticated_data_crc32c: String,
}

/// The answer to `encrypt`. Fields that are false or empty are left out by the API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Encrypted {
    /// The version of the key, by its full name.
    pub name: String,
    #[serde(default)]
    ciphertext: String,
    #[serde(default)]
    ciphertext_crc32c: String,
    #[serde(default)]
    verified_plaintext_crc32c: bool,
    #[serde(default)]
    verified_additional_authenticated_data_crc32c: bool,
}

/// The answer to `decrypt`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decrypted {
    plaintext: SecretString,
    #[serde(default)]
    plaintext_crc32c: String,
}

/// The question that has `key` encrypted. Both are sized beforehand: what grows leaves a copy behind.
pub(super) fn encrypt(key: &[u8], aad: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plaintext = Zeroizing::new(String::with_capacity(key.len() * 2));
    STANDARD.encode_string(key, &mut plaintext);
    written(&Encrypt {
        plaintext: &plaintext,
        plaintext_crc32c: crc32c::of(key),
        additional_authenticated_data: STANDARD.encode(aad),
        additional_authenticated_data_crc32c: crc32c::of(aad),
    })
}

/// The question that has `ciphertext` decrypted.
pub(super) fn decrypt(ciphertext: &[u8], aad: &[u8]) -> Zeroizing<Vec<u8>> {
    written(&Decrypt {
        ciphertext: STANDARD.encode(ciphertext),
        ciphertext_crc32c: crc32c::of(ciphertext),
        additional_authenticated_data: STANDARD.encode(aad),
        additional_authenticated_data_crc32c: crc32c::of(aad),
    })
}

fn written(question: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(Vec::with_capacity(4096));
    // Texts and numbers into memory: there is nothing that could fail, and an empty body would be refused.
    let _ = serde_json::to_writer(&mut *body, question);
    body
}

impl Encrypted {
    /// The ciphertext, if nothing was changed on either way.
    pub(super) fn checked(&self) -> Result<Vec<u8>, KmsError> {
        if !(self.verified_plaintext_crc32c && self.verified_additional_authenticated_data_crc32c) {
            return Err(damaged("it does not confirm the checksums of what was sent"));
        }
        let ciphertext = STANDARD
            .decode(&self.ciphertext)
            .map_err(|_| damaged("its ciphertext is no base64"))?;
        if crc32c::of(&ciphertext) != self.ciphertext_crc32c {
            return Err(damaged("its ciphertext does not fit its checksum"));
        }
        Ok(ciphertext)
    }
}

impl Decrypted {
    /// The key, if nothing was changed on the way.
    pub(super) fn checked(&self) -> Result<Key, KmsError> {
        let plaintext = self.plaintext.expose_secret().as_bytes();
        let mut bytes = Zeroizing::new(vec![0; plaintext.len()]);
        let length = STANDARD
            .decode_slice(plaintext, &mut bytes)
            .map_err(|_| damaged("its plaintext is no base64"))?;
        let bytes = &bytes[..length];
        if crc32c::of(bytes) != self.plaintext_crc32c {
            return Err(damaged("its plaintext does not fit its checksum"));
        }
        Key::from_bytes(bytes).ok_or_else(|| damaged("it holds no key"))
    }
}

fn damaged(what: &str) -> KmsError {
    KmsError::Damaged(format!("Google Cloud KMS: {what}"))
}
