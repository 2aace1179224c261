//! Proof that a request has passed the edge: `X-Origin-Verify: <unix seconds>.<hex>`, where `hex` is HMAC-SHA256 under a
//! secret that only the edge and this process know, over `counterfoil origin v1`, the seconds, the method and the path
//! as they arrive here, each on a line of its own.
//!
//! Off unless a secret is configured. While it is rotated two secrets hold. The time may be off by the window, either
//! way. Every refusal is the same; the log knows why. `/live`, `/ready` and `/metrics` are asked by whoever runs the
//! process, not through the edge, and need no proof.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use counterfoil_events::timestamp::Clock;
use secrecy::{ExposeSecret, SecretString};
use warp::http::{HeaderMap, Method};

use super::problem::{self, ApiError};

/// The header.
pub const X_ORIGIN_VERIFY: &str = "x-origin-verify";
const CONTEXT: &str = "counterfoil origin v1";

/// Checks the proof.
pub struct OriginProof {
    keys: Vec<Key>,
    window_s: u64,
    clock: Arc<dyn Clock>,
}

/// Why there is no proof; for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("no X-Origin-Verify, or more than one")]
    Missing,
    #[error("X-Origin-Verify is not `<unix seconds>.<64 hexadecimal digits>`")]
    Malformed,
    #[error("X-Origin-Verify is of a time outside the window: compare the clocks of edge and origin")]
    OutsideWindow,
    #[error("X-Origin-Verify is not by a secret of this origin")]
    Wrong,
}

impl OriginProof {
    /// By any of these secrets, within `window` of the clock.
    #[must_use]
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a SecretString>,
        window: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let key = |secret: &SecretString| Key::new(HMAC_SHA256, secret.expose_secret().as_bytes());
        Self {
            keys: secrets.into_iter().map(key).collect(),
            window_s: window.as_secs(),
            clock,
        }
    }

    /// Refuses a request that does not prove it.
    ///
    /// # Errors
    /// 403, the same for every reason.
    pub fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        self.verify(method, path, headers).map_err(|refusal| {
            problem::ORIGIN_REFUSED
                .detail("this origin answers only what comes through its edge: use the public address")
                .because(refusal)
        })
    }

    fn verify(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let (seconds, tag) = presented(headers)?;
        let now = self.clock.now().as_datetime().timestamp();
        if now.abs_diff(seconds) > self.window_s {
            return Err(Refusal::OutsideWindow);
        }
        let message = message(seconds, method, path);
        // In constant time; that there are two secrets for a while is no secret.
        let by = |key: &Key| hmac::verify(key, message.as_bytes(), &tag).is_ok();
        if self.keys.iter().any(by) {
            Ok(())
        } else {
            Err(Refusal::Wrong)
        }
    }
}

/// What an edge sends for a request at `seconds`.
#[must_use]
pub fn prove(secret: &SecretString, seconds: i64, method: &Method, path: &str) -> String {
    let key = Key::new(HMAC_SHA256, secret.expose_secret().as_bytes());
    let tag = hmac::sign(&key, message(seconds, method, path).as_bytes());
    format!("{seconds}.{}", hex::encode(tag))
}

fn message(seconds: i64, method: &Method, path: &str) -> String {
    format!("{CONTEXT}\n{seconds}\n{method}\n{path}")
}

fn presented(headers: &HeaderMap) -> Result<(i64, [u8; 32]), Refusal> {
    let mut values = headers.get_all(X_ORIGIN_VERIFY).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refusal::Missing);
    };
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (seconds, tag) = text.split_once('.').ok_or(Refusal::Malformed)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(tag, &mut bytes).map_err(|_| Refusal::Malformed)?;
    Ok((seconds.parse().map_err(|_| Refusal::Malformed)?, bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use counterfoil_events::timestamp::Timestamp;
    use warp::http::HeaderValue;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    struct Stands;

    impl Clock for Stands {
        fn now(&self) -> Timestamp {
            "2027-01-15T08:00:00.000000Z".parse().unwrap()
        }
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    /// A proof by this secret, so many seconds from now, for `POST /v1/things`.
    fn proof(by: &str, off_s: i64) -> String {
        prove(&secret(by), NOW + off_s, &Method::POST, "/v1/things")
    }

    fn checked(values: &[String]) -> Result<(), Refusal> {
        let secrets = [secret("the secret of today"), secret("the secret of yesterday")];
        let origin = OriginProof::new(&secrets, Duration::from_secs(60), Arc::new(Stands));
        let header = |value: &String| {
            (
                X_ORIGIN_VERIFY.parse().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in values.iter().map(header) {
            let name: warp::http::HeaderName = name;
            headers.append(name, value);
        }
        let refused = origin.check(&Method::POST, "/v1/things", &headers);
        let verified = origin.verify(&Method::POST, "/v1/things", &headers);
        assert_eq!(refused.is_ok(), verified.is_ok());
        if let Err(error) = refused {
            // One refusal for every reason.
            assert_eq!(error.status(), 403);
            assert!(error.client_text().starts_with("this origin answers only"));
        }
        verified
    }

    #[test]
    fn a_proof_holds_by_either_secret_within_the_window_for_its_own_request_alone() {
        let good = proof("the secret of today", 0);
        let (_, tag) = good.split_once('.').unwrap();
        let other = |method: Method, path: &str| prove(&secret("the secret of today"), NOW, &method, path);
        let cases = [
            ("as it should be", vec![good.clone()], Ok(())),
            (
                "by the secret before",
                vec![proof("the secret of yesterday", 0)],
                Ok(()),
            ),
            (
                "by a secret that is gone",
                vec![proof("the secret of last week", 0)],
                Err(Refusal::Wrong),
            ),
            (
                "at the end of the window",
                vec![proof("the secret of today", -60)],
                Ok(()),
            ),
            (
                "ahead, at its end",
                vec![proof("the secret of today", 60)],
                Ok(()),
            ),
            (
                "expired",
                vec![proof("the secret of today", -61)],
                Err(Refusal::OutsideWindow),
            ),
            (
                "of the future",
                vec![proof("the secret of today", 61)],
                Err(Refusal::OutsideWindow),
            ),
            (
                "expired and wrong",
                vec![proof("x", -61)],
                Err(Refusal::OutsideWindow),
            ),
            ("missing", vec![], Err(Refusal::Missing)),
            ("twice", vec![good.clone(), good.clone()], Err(Refusal::Missing)),
            (
                "of another method",
                vec![other(Method::GET, "/v1/things")],
                Err(Refusal::Wrong),
            ),
            (
                "of another path",
                vec![other(Method::POST, "/v1/thing")],
                Err(Refusal::Wrong),
            ),
            (
                "with another time",
                vec![format!("{}.{tag}", NOW + 1)],
                Err(Refusal::Wrong),
            ),
            (
                "cut",
                vec![good[..good.len() - 2].to_owned()],
                Err(Refusal::Malformed),
            ),
            ("longer", vec![format!("{good}00")], Err(Refusal::Malformed)),
            (
                "no hexadecimal",
                vec![format!("{NOW}.{}", "zz".repeat(32))],
                Err(Refusal::Malformed),
            ),
            ("no time", vec![format!(".{tag}")], Err(Refusal::Malformed)),
            (
                "far beyond any time",
                vec![format!("{}.{tag}", i64::MIN)],
                Err(Refusal::OutsideWindow),
            ),
            ("empty", vec![String::new()], Err(Refusal::Malformed)),
        ];
        for (what, values, expected) in cases {
            assert_eq!(checked(&values), expected, "{what}");
        }
    }

    #[test]
    fn the_proof_is_the_standards_hmac_over_the_lines_that_are_documented() {
        // Computed by OpenSSL: printf 'counterfoil origin v1\n1800000000\nGET\n/v1/tenants' | openssl dgst -sha256 -hmac key
        let proof = prove(&secret("key"), NOW, &Method::GET, "/v1/tenants");
        assert_eq!(
            proof,
            "1800000000.c8a6ee9b95efe9a92a795cf48908d0f9321b9bb0b31decd06397740acdd15441"
        );
    }
}
