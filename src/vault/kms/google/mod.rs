//! Google Cloud KMS over its REST API, v1: `cryptoKeys.encrypt` and `cryptoKeys.decrypt`.
//!
//! Everything that travels has its CRC32C beside it, and all of them are checked both ways, as Google asks of clients: a
//! question whose checksums the service does not confirm, or an answer that does not fit its own, is not used
//! ([`KmsError::Damaged`]), and asked for again, as after faults that pass: three times, within the time of one answer; redirects are not followed, since the token would go along.
//!
//! The organisation's key crosses the TLS connection, so for a moment it is in buffers of the HTTP client. The KEK itself never leaves the service.

mod crc32c;
#[cfg(test)]
mod tests;
mod token;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub use token::{AccessToken, MetadataToken};
use wire::{Decrypted, Encrypted};

use super::{Kms, KmsError, Wrapped};
use crate::vault::key::Key;

/// Google answers in tens of milliseconds; whoever waits for a secret waits for this.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked, if its answer says that asking again may help.
const ATTEMPTS: u32 = 3;
/// Between attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// An answer holds a wrapped key and a few names.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A symmetric key in Google Cloud KMS.
pub struct GoogleKms {
    client: reqwest::Client,
    endpoint: String,
    key: String,
    token: Arc<dyn AccessToken>,
}

impl GoogleKms {
    /// The key `projects/…/locations/…/keyRings/…/cryptoKeys/…` at `endpoint` (`https://cloudkms.googleapis.com`).
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(endpoint: &str, key: &str, token: Arc<dyn AccessToken>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        Ok(Self {
            client,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
            token,
        })
    }

    async fn ask<A: DeserializeOwned>(&self, verb: &str, body: Zeroizing<Vec<u8>>) -> Result<A, KmsError> {
        let token = self.token.get().await?;
        let request = self
            .client
            .post(format!("{}/v1/{}:{verb}", self.endpoint, self.key))
            .bearer_auth(token.expose_secret())
            .header("content-type", "application/json")
            .body(body.to_vec());
        let response = request.send().await.map_err(|error| away(&error))?;
        answered(response.status())?;
        let answer = read(response).await?;
        serde_json::from_slice(&answer)
            .map_err(|_| KmsError::Damaged("it is not of the API's form".to_owned()))
    }
}

/// Reads an answer into memory that is wiped, up to its limit.
async fn read(mut response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    while let Some(chunk) = response.chunk().await.map_err(|error| away(&error))? {
        if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(KmsError::Damaged(format!("it is over {ANSWER_BYTES_MAX} bytes")));
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

fn away(error: &reqwest::Error) -> KmsError {
    // Its own text names the URL; what went wrong is enough.
    let what = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "no connection",
        _ => "the connection broke off",
    };
    KmsError::Unavailable(format!("Google Cloud KMS: {what}"))
}

/// What a status means: over quota and faults of theirs pass; everything else is a no.
fn answered(status: StatusCode) -> Result<(), KmsError> {
    let text = || format!("Google Cloud KMS answers {status}");
    match status.as_u16() {
        200 => Ok(()),
        408 | 429 | 500.. => Err(KmsError::Unavailable(text())),
        401 | 403 => Err(KmsError::Refused(format!(
            "{}: may this service account use the key?",
            text()
        ))),
        _ => Err(KmsError::Refused(text())),
    }
}

impl GoogleKms {
    async fn try_wrap(&self, key: &Key, aad: &[u8]) -> Result<Wrapped, KmsError> {
        let question = wire::encrypt(key.expose(), aad);
        let answer: Encrypted = self.ask("encrypt", question).await?;
        let bytes = answer.checked()?;
        Ok(Wrapped {
            kek: answer.name,
            bytes,
        })
    }

    async fn try_unwrap(&self, wrapped: &Wrapped, aad: &[u8]) -> Result<Key, KmsError> {
        let question = wire::decrypt(&wrapped.bytes, aad);
        let answer: Decrypted = self.ask("decrypt", question).await?;
        answer.checked()
    }
}

/// Whether to ask once more: what passes, and what was damaged on the way, as Google asks of clients. Not after `attempt`s
/// enough.
async fn once_more<T>(attempt: u32, outcome: &Result<T, KmsError>) -> bool {
    let passes = matches!(outcome, Err(KmsError::Unavailable(_) | KmsError::Damaged(_)));
    if passes && attempt < ATTEMPTS {
        tokio::time::sleep(PAUSE).await;
    }
    passes && attempt < ATTEMPTS
}

/// All attempts together have the time of one answer.
async fn in_time<T>(asking: impl Future<Output = Result<T, KmsError>>) -> Result<T, KmsError> {
    let late = || KmsError::Unavailable("Google Cloud KMS: no answer in time".to_owned());
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Err(late()))
}

impl Kms for GoogleKms {
    fn wrap<'a>(&'a self, key: &'a Key, aad: &'a [u8]) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        in_time(async move {
            let mut attempt = 1;
            loop {
                let outcome = self.try_wrap(key, aad).await;
                if !once_more(attempt, &outcome).await {
                    return outcome;
                }
                attempt += 1;
            }
        })
        .boxed()
    }

    fn unwrap_key<'a>(&'a self, wrapped: &'a Wrapped, aad: &'a [u8]) -> BoxFuture<'a, Result<Key, KmsError>> {
        in_time(async move {
            let mut attempt = 1;
            loop {
                let outcome = self.try_unwrap(wrapped, aad).await;
                if !once_more(attempt, &outcome).await {
                    return outcome;
                }
                attempt += 1;
            }
        })
        .boxed()
    }
}
