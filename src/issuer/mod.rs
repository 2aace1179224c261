//! Users who sign in elsewhere: tokens of issuers (OpenID Connect, RFC 7519) as credentials of the HTTP face.
//!
//! - `token` reads a token and judges what it says; `key_set` reads an issuer's keys and checks signatures. Both are pure.
//! - `documents` fetches an issuer's document and keys, past the guard against private addresses.
//! - `cache` holds the keys: renewed in the background, asked for at most once in a short while, over after an hour.
//! - `sign_in` goes from a token to a user, and to how far that reaches.
//! - `subjects` keeps who signs in as whom, beside the log.
//! - `local` is an issuer of our own, for development and tests.
//!
//! In order: form and algorithm of the token → the one live issuer that it names by `iss` and `aud` → that issuer's key by
//! `kid` → signature → times, second factor, tenant → the user who is linked to `sub`. Every refusal is the same 401.

pub mod cache;
pub mod documents;
pub mod key_set;
pub mod local;
pub mod sign_in;
pub mod subjects;
#[cfg(test)]
mod tests;
pub mod token;

/// Why a token is refused. Callers are not told: the figure `counterfoil_tokens_refused_total` counts by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Not three parts of base64url, or not JSON of the expected form.
    #[error("malformed")]
    Malformed,
    /// `none`, a shared-secret algorithm, or one that is not known.
    #[error("algorithm")]
    Algorithm,
    /// An extension that must be understood, or a token of another kind.
    #[error("kind")]
    Kind,
    /// No live issuer has this `iss` and `aud`, or more than one has.
    #[error("issuer")]
    Issuer,
    /// The issuer has no key of this name for this algorithm.
    #[error("key")]
    Key,
    /// The signature is not that key's.
    #[error("signature")]
    Signature,
    /// Past its end, before its beginning, or with an end too far away.
    #[error("time")]
    Time,
    /// Only one factor, as far as it says.
    #[error("second_factor")]
    SecondFactor,
    /// It names a tenant that is not the issuer's organisation's, or none that can be read.
    #[error("tenant")]
    Tenant,
    /// Nobody is linked to this subject, or a user who is suspended.
    #[error("subject")]
    Subject,
}
