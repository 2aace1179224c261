//! An issuer's keys (RFC 7517): which of them may sign tokens, and by which algorithms. Pure.
//!
//! A key serves the algorithms of its own type and curve, and of these the one that it names, if it names one. Keys of
//! other types, for other uses, or without a name are passed over: an issuer publishes what it likes.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::Refusal;
use super::token::{Token, algorithm};

/// Most keys that are looked at.
const KEYS_MAX: usize = 64;
/// Longest name of a key that is kept.
const NAME_BYTES_MAX: usize = 255;

/// A document that holds no key to check tokens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// Not a set of keys.
    #[error("it is not a JSON Web Key Set")]
    Malformed,
    /// None that can be used.
    #[error("none of its keys is a named RSA, EC (P-256, P-384) or Ed25519 key for signatures")]
    NoneUsable,
}

/// The keys of an issuer by which tokens are checked.
#[derive(Debug)]
pub struct KeySet(Vec<NamedKey>);

#[derive(Debug)]
struct NamedKey {
    kid: String,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When the text is no JWK Set, or holds no key that can be used.
    pub fn read(text: &str) -> Result<Self, NoKeys> {
        let Document { keys } = serde_json::from_str(text).map_err(|_| NoKeys::Malformed)?;
        let keys: Vec<_> = keys.into_iter().take(KEYS_MAX).filter_map(usable).collect();
        match keys.is_empty() {
            true => Err(NoKeys::NoneUsable),
            false => Ok(Self(keys)),
        }
    }

    /// Whether it has a key of this name.
    #[must_use]
    pub fn names(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid == kid)
    }

    /// Checks a token's signature.
    ///
    /// # Errors
    /// When there is no key of its name for its algorithm, or the signature is not by it.
    pub fn verify(&self, token: &Token<'_>) -> Result<(), Refusal> {
        let named = self.0.iter().filter(|key| key.kid == token.kid);
        let mut fitting = named
            .filter(|key| key.algorithms.contains(&token.algorithm))
            .peekable();
        fitting.peek().ok_or(Refusal::Key)?;
        let signs = |key: &NamedKey| {
            let message = token.message.as_bytes();
            let verified = jsonwebtoken::crypto::verify(token.signature, message, &key.key, token.algorithm);
            // An error is a key or a signature that is not what it should be.
            verified.unwrap_or(false)
        };
        match fitting.any(signs) {
            true => Ok(()),
            false => Err(Refusal::Signature),
        }
    }
}

fn usable(value: Value) -> Option<NamedKey> {
    let own = match value.get("alg") {
        None => None,
        Some(name) => Some(name.as_str().and_then(algorithm)?),
    };
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let kid = common.key_id.clone().filter(|kid| kid.len() <= NAME_BYTES_MAX)?;
    let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !for_signatures || !verifies {
        return None;
    }
    let mut algorithms = by_type(&jwk.algorithm);
    if let Some(own) = own {
        algorithms.retain(|algorithm| *algorithm == own);
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(NamedKey { kid, algorithms, key })
}

/// What keys of this type and curve sign by. RSA keys below 2048 bits are refused where signatures are checked.
fn by_type(parameters: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![EdDSA],
        _ => Vec::new(),
    }
}
