//! Access tokens for Google's APIs, from the metadata server of the machine or pod (workload identity): there is no
//! service account's key file to be stolen.

use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt as _};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::vault::kms::KmsError;

const METADATA: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
/// The metadata server is on the same machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// A token is renewed before it could expire on the way.
const MARGIN: Duration = Duration::from_secs(120);

/// Who gives tokens.
pub trait AccessToken: Send + Sync {
    /// One that is valid for a while.
    fn get(&self) -> BoxFuture<'_, Result<SecretString, KmsError>>;
}

/// Tokens of the metadata server, each kept until shortly before its end.
pub struct MetadataToken {
    client: reqwest::Client,
    url: String,
    held: Mutex<Option<(SecretString, Instant)>>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: SecretString,
    expires_in: u64,
}

impl MetadataToken {
    /// From Google's metadata server.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::at(METADATA)
    }

    /// From a metadata server elsewhere.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn at(url: &str) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        Ok(Self {
            client,
            url: url.to_owned(),
            held: Mutex::new(None),
        })
    }

    async fn fetch(&self) -> Result<Answer, reqwest::Error> {
        let request = self.client.get(&self.url).header("Metadata-Flavor", "Google");
        request.send().await?.error_for_status()?.json().await
    }
}

impl AccessToken for MetadataToken {
    fn get(&self) -> BoxFuture<'_, Result<SecretString, KmsError>> {
        async move {
            // Held while it is fetched: who comes meanwhile waits for this one.
            let mut held = self.held.lock().await;
            if let Some((token, until)) = &*held
                && Instant::now() < *until
            {
                return Ok(token.clone());
            }
            let fetched = self
                .fetch()
                .await
                .map_err(|_| KmsError::Unavailable("the metadata server gives no access token".to_owned()))?;
            let valid = Duration::from_secs(fetched.expires_in).saturating_sub(MARGIN);
            *held = Some((fetched.access_token.clone(), Instant::now() + valid));
            Ok(fetched.access_token)
        }
        .boxed()
    }
}
