//! Proof that a request has passed the edge: `X-Origin-Verify: <unix seconds>.<hex>`, where `hex` is HMAC-SHA256 under a
//! secret that only the edge and this process know, over `counterfoil origin v1`, the seconds, the method and the path
//! as they arrive here, each on a line of its own.
//!
//! When the edge is down, a platform administrator suspends the proof for a while, by a command that is on the log
//! ([`switch`]); whether it is suspended is asked of what the process knows of the log, at each request that proves
//! nothing, so that it ends by itself. Where the process cannot know, it is not.
//!
//! Off unless a secret is configured. While it is rotated two secrets hold. The time may be off by the window, either
//! way. Every refusal is the same; the log knows why. `/live`, `/ready` and `/metrics` are asked by whoever runs the
//! process, not through the edge, and need no proof.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use counterfoil_events::timestamp::{Clock, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use warp::http::{HeaderMap, Method};

use super::metrics;
use super::problem::{self, ApiError};

pub mod switch;

/// The header.
pub const X_ORIGIN_VERIFY: &str = "x-origin-verify";
const CONTEXT: &str = "counterfoil origin v1";

/// Says until when no proof is asked for, as far as it is known; none: it is asked for.
pub type OpenUntil = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;

/// Checks the proof.
pub struct OriginProof {
    keys: Vec<Key>,
    window_s: u64,
    clock: Arc<dyn Clock>,
    open_until: Option<OpenUntil>,
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
            open_until: None,
        }
    }

    /// Lets everything pass as long as the switch says.
    #[must_use]
    pub fn unless(mut self, open_until: OpenUntil) -> Self {
        self.open_until = Some(open_until);
        self
    }

    /// Refuses a request that does not prove it, unless the proof is suspended.
    ///
    /// # Errors
    /// 403, the same for every reason.
    pub fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        match self.verify(method, path, headers) {
            Ok(()) => Ok(()),
            Err(_) if self.is_suspended() => {
                ::metrics::counter!(metrics::UNPROVEN).increment(1);
                Ok(())
            }
            Err(refusal) => Err(problem::ORIGIN_REFUSED
                .detail("this origin answers only what comes through its edge: use the public address")
                .because(refusal)),
        }
    }

    fn is_suspended(&self) -> bool {
        let until = self.open_until.as_ref().and_then(|open_until| open_until());
        until.is_some_and(|until| self.clock.now() < until)
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
mod tests;
