//! What a token says, and whether that suffices. Pure: the time is given, keys and users are others' business.
//!
//! Nothing that is read here is true before the signature is checked; until then it only tells which key to check with.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::Refusal;
use crate::http::json_check;

/// How far the clocks of issuer and platform may differ.
pub const LEEWAY_S: i64 = 30;
/// Longest that a token may still live: one that hardly ends is as good as a password.
pub const LIFE_MAX_S: i64 = 24 * 60 * 60;
/// The methods of RFC 8176 that tell of a second factor: several factors, a one-time password, a hardware key, a smart
/// card. Not a text message or a call, which others can read or take over, and no single factor such as a fingerprint.
const SECOND_FACTORS: [&str; 4] = ["mfa", "otp", "hwk", "sc"];
/// What a token may call itself (RFC 7519 §5.1, RFC 9068 §2.1); a logout token or a proof of possession is none of ours.
const KINDS: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A token, taken apart.
pub struct Token<'t> {
    /// What is signed.
    pub message: &'t str,
    /// The signature, in base64url.
    pub signature: &'t str,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// The name of the issuer's key that signs.
    pub kid: String,
    /// What it says.
    pub claims: Claims,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// The claims that are read (RFC 7519 §4.1, OpenID Connect Core 1.0 §2). The first five are required.
#[derive(Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// For whom: one or several.
    pub aud: Audiences,
    /// Who signed in, in the issuer's words.
    pub sub: String,
    exp: Number,
    nbf: Number,
    mfa_verified: Option<bool>,
    amr: Option<Vec<String>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// One audience or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Audiences {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Audiences {
    /// Whether this is one of them.
    #[must_use]
    pub fn contain(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// Whether a credential is of a token's form: three parts. No other credential here has a dot in it.
#[must_use]
pub fn is_token(credential: &str) -> bool {
    credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'t> Token<'t> {
    /// Takes a credential apart.
    ///
    /// # Errors
    /// When it is malformed, of another kind, or signed by an algorithm that is not asymmetric.
    pub fn read(credential: &'t str) -> Result<Self, Refusal> {
        let (message, signature) = credential.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (head, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        let head: Head = part(head)?;
        let algorithm = algorithm(&head.alg).ok_or(Refusal::Algorithm)?;
        let kind = head.typ.map(|kind| kind.to_ascii_lowercase());
        if head.crit.is_some() || kind.is_some_and(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(Refusal::Kind);
        }
        Ok(Self {
            message,
            signature,
            algorithm,
            kid: head.kid.ok_or(Refusal::Key)?,
            claims: part(claims)?,
        })
    }
}

impl Claims {
    /// Whether what it says suffices at this moment: its times, and a second factor.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, now_s: i64) -> Result<(), Refusal> {
        let (begins_s, ends_s) = (seconds(&self.nbf)?, seconds(&self.exp)?);
        let begun = begins_s <= now_s.saturating_add(LEEWAY_S);
        let ended = ends_s <= now_s.saturating_sub(LEEWAY_S);
        let endless = ends_s > now_s.saturating_add(LIFE_MAX_S + LEEWAY_S);
        if !begun || ended || endless {
            return Err(Refusal::Time);
        }
        let methods = self.amr.as_deref().unwrap_or_default();
        let second = methods
            .iter()
            .any(|method| SECOND_FACTORS.contains(&method.as_str()));
        match self.mfa_verified {
            Some(true) => Ok(()),
            // What the issuer says plainly is not outvoted by a list.
            Some(false) => Err(Refusal::SecondFactor),
            None if second => Ok(()),
            None => Err(Refusal::SecondFactor),
        }
    }

    /// Another claim, by its name.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&Value> {
        self.others.get(name)
    }
}

/// Only algorithms whose verifying half is no secret: whoever can check a token cannot make one.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// A part of a token: base64url without padding, and JSON that no two readers read differently.
fn part<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Malformed)?;
    json_check::check(&bytes).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}

/// A moment in seconds since 1970, in whole ones; issuers write fractions too (RFC 7519 §2).
fn seconds(number: &Number) -> Result<i64, Refusal> {
    let within = |seconds: f64| (0.0..=1e12).contains(&seconds).then_some(seconds as i64);
    number.as_f64().and_then(within).ok_or(Refusal::Malformed)
}
