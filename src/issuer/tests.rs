//! What a token must be to be believed, attack by attack. Keys are real ones, made here; time is given.
#![allow(clippy::unwrap_used)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::Refusal;
use super::key_set::{KeySet, NoKeys};
use super::token::{Token, is_token};

/// The moment at which all of it happens.
const NOW_S: i64 = 1_790_000_000;

/// A key of an issuer, private half and public.
pub(super) struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

impl Signer {
    pub(super) fn es256(kid: &str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let key = EncodingKey::from_ec_der(pkcs8.unwrap().as_ref());
        Self::new(Algorithm::ES256, key, kid)
    }

    fn ed25519(kid: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ed_der(pkcs8.as_ref());
        Self::new(Algorithm::EdDSA, key, kid)
    }

    fn rsa(kid: &str, algorithm: Algorithm) -> Self {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let components = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Self {
            algorithm,
            // PKCS #8 of a key of 2048 bits is its PKCS #1, which is asked for, behind 26 bytes (RFC 5208 §5).
            key: EncodingKey::from_rsa_der(&der.as_ref()[26..]),
            jwk: json!({"kty": "RSA", "kid": kid, "n": text(&components.n), "e": text(&components.e)}),
        }
    }

    fn new(algorithm: Algorithm, key: EncodingKey, kid: &str) -> Self {
        let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        let mut jwk = serde_json::to_value(&jwk).unwrap();
        jwk["kid"] = kid.into();
        Self { algorithm, key, jwk }
    }

    /// As an issuer publishes it.
    pub(super) fn key_set(&self) -> String {
        json!({"keys": [self.jwk]}).to_string()
    }

    fn sign(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(head), encoded(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm);
        format!("{message}.{}", signature.unwrap())
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn head() -> Value {
    json!({"alg": "ES256", "kid": "one", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": "https://login.example", "aud": "counterfoil", "sub": "anna", "nbf": NOW_S - 10,
           "exp": NOW_S + 600, "amr": ["pwd", "mfa"]})
}

/// `value` with some members replaced, or removed where they are null.
fn with(mut value: Value, changes: Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        match change.is_null() {
            true => drop(value.as_object_mut().unwrap().remove(name)),
            false => value[name] = change.clone(),
        }
    }
    value
}

/// What a request's token goes through, but for the user.
fn judge(token: &str, keys: &str) -> Result<(), Refusal> {
    let token = Token::read(token)?;
    KeySet::read(keys).unwrap().verify(&token)?;
    token.claims.check(NOW_S)
}

#[test]
fn a_good_token_is_believed_by_every_algorithm_that_is_allowed() {
    let signers = [
        Signer::es256("one"),
        Signer::ed25519("one"),
        Signer::rsa("one", Algorithm::RS256),
        Signer::rsa("one", Algorithm::PS256),
    ];
    for signer in signers {
        let name = serde_json::to_value(signer.algorithm).unwrap();
        let token = signer.sign(&with(head(), json!({"alg": name})), &claims());
        assert_eq!(judge(&token, &signer.key_set()), Ok(()), "{name}");
    }
}

#[test]
fn what_a_token_says_must_suffice() {
    let signer = Signer::es256("one");
    let keys = signer.key_set();
    let cases: [(&str, Value, Result<(), Refusal>); 29] = [
        ("as it is", json!({}), Ok(())),
        ("ended within the leeway", json!({"exp": NOW_S - 29}), Ok(())),
        ("ended", json!({"exp": NOW_S - 30}), Err(Refusal::Time)),
        ("begins within the leeway", json!({"nbf": NOW_S + 30}), Ok(())),
        ("not begun", json!({"nbf": NOW_S + 31}), Err(Refusal::Time)),
        ("hardly ends", json!({"exp": NOW_S + 86_431}), Err(Refusal::Time)),
        ("a day", json!({"exp": NOW_S + 86_400}), Ok(())),
        ("in fractions", json!({"exp": NOW_S as f64 + 600.5}), Ok(())),
        (
            "an end in words",
            json!({"exp": "never"}),
            Err(Refusal::Malformed),
        ),
        ("an end below zero", json!({"exp": -1}), Err(Refusal::Malformed)),
        (
            "an end beyond all",
            json!({"exp": 1e300}),
            Err(Refusal::Malformed),
        ),
        ("no exp", json!({"exp": null}), Err(Refusal::Malformed)),
        ("no nbf", json!({"nbf": null}), Err(Refusal::Malformed)),
        ("no iss", json!({"iss": null}), Err(Refusal::Malformed)),
        ("no aud", json!({"aud": null}), Err(Refusal::Malformed)),
        ("no sub", json!({"sub": null}), Err(Refusal::Malformed)),
        ("a sub that is none", json!({"sub": 7}), Err(Refusal::Malformed)),
        ("aud as a list", json!({"aud": ["other", "counterfoil"]}), Ok(())),
        (
            "no second factor",
            json!({"amr": null}),
            Err(Refusal::SecondFactor),
        ),
        ("a password", json!({"amr": ["pwd"]}), Err(Refusal::SecondFactor)),
        (
            "a text message",
            json!({"amr": ["pwd", "sms"]}),
            Err(Refusal::SecondFactor),
        ),
        ("no methods", json!({"amr": []}), Err(Refusal::SecondFactor)),
        (
            "methods as a text",
            json!({"amr": "mfa"}),
            Err(Refusal::Malformed),
        ),
        ("a one-time password", json!({"amr": ["pwd", "otp"]}), Ok(())),
        ("a hardware key", json!({"amr": ["hwk"]}), Ok(())),
        ("verified", json!({"amr": null, "mfa_verified": true}), Ok(())),
        (
            "not verified",
            json!({"mfa_verified": false}),
            Err(Refusal::SecondFactor),
        ),
        (
            "verified in words",
            json!({"mfa_verified": "true"}),
            Err(Refusal::Malformed),
        ),
        ("more claims", json!({"email": "x", "roles": [1]}), Ok(())),
    ];
    for (what, changes, expected) in cases {
        let token = signer.sign(&head(), &with(claims(), changes));
        assert_eq!(judge(&token, &keys), expected, "{what}");
    }
}

#[test]
fn how_a_token_is_signed_cannot_be_talked_down() {
    let signer = Signer::es256("one");
    let keys = signer.key_set();
    let good = signer.sign(&head(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = message.split_once('.').unwrap();
    // The public key as the secret of an HMAC, in the forms in which somebody may have it.
    let by_secret = |alg: Algorithm, name: &str, secret: &[u8]| {
        let message = format!(
            "{}.{}",
            encoded(&with(head(), json!({"alg": name}))),
            encoded(&claims())
        );
        let signed = jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), alg);
        format!("{message}.{}", signed.unwrap())
    };
    let point: Vec<u8> = ["x", "y"]
        .iter()
        .flat_map(|name| {
            URL_SAFE_NO_PAD
                .decode(signer.jwk[name].as_str().unwrap())
                .unwrap()
        })
        .collect();
    let point = [&[4][..], &point].concat();
    let headed = |changes: Value| signer.sign(&with(head(), changes), &claims());
    let other = Signer::es256("one");
    let cases: Vec<(&str, String, Refusal)> = vec![
        (
            "none",
            format!("{}.{payload}.", encoded(&json!({"alg": "none", "kid": "one"}))),
            Refusal::Algorithm,
        ),
        (
            "None, with a signature",
            format!(
                "{}.{payload}.{signature}",
                encoded(&json!({"alg": "None", "kid": "one"}))
            ),
            Refusal::Algorithm,
        ),
        (
            "HS256 by the point",
            by_secret(Algorithm::HS256, "HS256", &point),
            Refusal::Algorithm,
        ),
        (
            "HS256 by the set",
            by_secret(Algorithm::HS256, "HS256", keys.as_bytes()),
            Refusal::Algorithm,
        ),
        (
            "HS512 by nothing",
            by_secret(Algorithm::HS512, "HS512", b""),
            Refusal::Algorithm,
        ),
        (
            "another case",
            headed(json!({"alg": "es256"})),
            Refusal::Algorithm,
        ),
        ("no algorithm", headed(json!({"alg": null})), Refusal::Malformed),
        (
            "another algorithm of the type",
            headed(json!({"alg": "ES384"})),
            Refusal::Key,
        ),
        (
            "an algorithm of another type",
            headed(json!({"alg": "RS256"})),
            Refusal::Key,
        ),
        (
            "a key that is not there",
            headed(json!({"kid": "two"})),
            Refusal::Key,
        ),
        ("a key without a name", headed(json!({"kid": null})), Refusal::Key),
        (
            "a key from elsewhere",
            other.sign(&head(), &claims()),
            Refusal::Signature,
        ),
        (
            "a key that it brings along",
            other.sign(
                &with(head(), json!({"jwk": other.jwk, "jku": "https://evil.example"})),
                &claims(),
            ),
            Refusal::Signature,
        ),
        ("an extension", headed(json!({"crit": ["exp"]})), Refusal::Kind),
        (
            "a logout token",
            headed(json!({"typ": "logout+jwt"})),
            Refusal::Kind,
        ),
        ("no signature", format!("{message}."), Refusal::Signature),
        (
            "a signature of zeros",
            format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
            Refusal::Signature,
        ),
        (
            "another's claims",
            format!(
                "{}.{}.{signature}",
                encoded(&head()),
                encoded(&with(claims(), json!({"sub": "bert"})))
            ),
            Refusal::Signature,
        ),
        (
            "padded",
            format!("{}=.{payload}.{signature}", encoded(&head())),
            Refusal::Malformed,
        ),
        (
            "no JSON",
            format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("x")),
            Refusal::Malformed,
        ),
        (
            "a claim twice",
            {
                let twice = claims().to_string().replacen('{', r#"{"sub":"bert","#, 1);
                let message = format!("{}.{}", encoded(&head()), URL_SAFE_NO_PAD.encode(twice));
                let signed = jsonwebtoken::crypto::sign(message.as_bytes(), &signer.key, Algorithm::ES256);
                format!("{message}.{}", signed.unwrap())
            },
            Refusal::Malformed,
        ),
    ];
    assert_eq!(judge(&good, &keys), Ok(()));
    for (what, token, expected) in cases {
        assert_eq!(judge(&token, &keys), Err(expected), "{what}");
    }
}

#[test]
fn a_key_serves_only_what_it_says() {
    let signer = Signer::rsa("one", Algorithm::RS256);
    let token = signer.sign(&with(head(), json!({"alg": "RS256"})), &claims());
    let published = |changes: Value| json!({"keys": [with(signer.jwk.clone(), changes)]}).to_string();
    for good in [
        json!({}),
        json!({"alg": "RS256"}),
        json!({"use": "sig"}),
        json!({"key_ops": ["verify"]}),
        json!({"x5c": ["MII"], "x5t": "abc", "issuer": "https://x"}),
    ] {
        assert_eq!(judge(&token, &published(good.clone())), Ok(()), "{good}");
    }
    assert_eq!(
        judge(&token, &published(json!({"alg": "PS256"}))),
        Err(Refusal::Key)
    );
    for unusable in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"alg": "HS256"}),
        json!({"alg": "RSA-OAEP"}),
        json!({"kid": null}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"kty": "EC"}),
    ] {
        let read = KeySet::read(&published(unusable.clone()));
        assert!(matches!(read, Err(NoKeys::NoneUsable)), "{unusable}");
    }
    // One that is not for us does not hide one that is.
    let both = json!({"keys": [{"kty": "oct", "kid": "one", "k": "AAAA"}, {"kty": "new"}, signer.jwk]});
    assert_eq!(judge(&token, &both.to_string()), Ok(()));
    for none in ["", "[]", r#"{"keys": 1}"#, r#"{}"#] {
        assert!(matches!(KeySet::read(none), Err(NoKeys::Malformed)), "{none}");
    }
}

#[test]
fn a_short_rsa_key_signs_nothing() {
    // 1024 bits, all set: whether the signature could be by it is not even asked.
    let short = json!({"kty": "RSA", "kid": "one", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB"});
    let keys = json!({"keys": [short]}).to_string();
    let signer = Signer::rsa("one", Algorithm::RS256);
    let token = signer.sign(&with(head(), json!({"alg": "RS256"})), &claims());
    assert_eq!(judge(&token, &keys), Err(Refusal::Signature));
}

#[test]
fn only_what_has_three_parts_is_looked_at() {
    for other in ["", "cfu_abc", "a.b", "a.b.c.d", "cft_0123"] {
        assert!(!is_token(other), "{other}");
    }
    assert!(is_token("a.b.c"));
    for malformed in ["..", "a.b.c", "é.é.é", "e30.e30.e30"] {
        assert!(Token::read(malformed).is_err(), "{malformed}");
    }
}
