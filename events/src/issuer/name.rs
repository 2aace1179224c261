//! What an issuer is called, for whom its tokens are, and which of their claims is read.

use crate::text::{TextError, named, text_newtype};

const URL_ALLOWED: &str =
    "https:// (or http:// on this machine) and then A-Z a-z 0-9 . _ ~ : / [ ] % -, without a query";

text_newtype!(
    /// An issuer's name as its tokens spell it (`iss`): a URL without query or fragment (OpenID Connect Discovery 1.0 §3).
    /// Compared byte for byte. Which schemes and addresses are fetched from is the edge's to say.
    IssuerUrl, issuer_url, { "pattern": "^https?://[A-Za-z0-9._~:/\\[\\]%-]{1,500}$" }
);
text_newtype!(
    /// For whom a token is (`aud`), such as the client id that the issuer gave: `[A-Za-z0-9._:/=~+-]{1,256}`.
    Audience, |text| named("an audience", text, 256, "A-Z a-z 0-9 . _ : / = ~ + -", is_audience_byte),
    { "pattern": "^[A-Za-z0-9._:/=~+-]{1,256}$" }
);
text_newtype!(
    /// The name of a claim, such as `counterfoil_tenant` or `https://acme.example/tenant`: `[A-Za-z0-9._:/-]{1,128}`.
    ClaimName, claim_name,
    { "pattern": "^[A-Za-z0-9._:/-]{1,128}$" }
);

const fn is_url_byte(byte: u8) -> bool {
    is_claim_byte(byte) || matches!(byte, b'~' | b'[' | b']' | b'%')
}

const fn is_audience_byte(byte: u8) -> bool {
    is_claim_byte(byte) || matches!(byte, b'=' | b'~' | b'+')
}

const fn is_claim_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b'-')
}

/// What a token is judged by says nothing of a tenant, and is read before other claims are: nothing would ever be bound.
const JUDGED_BY: [&str; 7] = ["iss", "aud", "sub", "exp", "nbf", "mfa_verified", "amr"];

fn claim_name(text: &str) -> Result<&str, TextError> {
    let (what, allowed) = (
        "a claim's name",
        "A-Z a-z 0-9 . _ : / -, and is not one that tokens are judged by",
    );
    let name = named(what, text, 128, allowed, is_claim_byte)?;
    if JUDGED_BY.contains(&name) {
        return Err(TextError::Character {
            what,
            place: 1,
            allowed,
        });
    }
    Ok(name)
}

fn issuer_url(text: &str) -> Result<&str, TextError> {
    let what = "an issuer's URL";
    let url = named(what, text, 508, URL_ALLOWED, is_url_byte)?;
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    match rest.is_some_and(|rest| !rest.is_empty() && rest.len() <= 500) {
        true => Ok(url),
        false => Err(TextError::Character {
            what,
            place: 1,
            allowed: URL_ALLOWED,
        }),
    }
}
