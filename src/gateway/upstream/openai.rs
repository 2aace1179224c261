//! A provider that speaks OpenAI's wire, at any base URL from configuration.
//!
//! One call: send (connect timeout) → status → for a stream, read ahead to the first content (first-token timeout)
//! → commit. A fault before that may be retried within the limits (`retry`). Redirects are never followed, since
//! the key would go where nobody configured it to; proxies of the environment are not used; outgoing headers are
//! exactly those that [`OpenAiProvider::headers`] lists. Answers are bounded in size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use counterfoil_events::secret::SecretName;
use counterfoil_events::text::Code;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{BoxStream, StreamExt as _};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{HeaderMap, StatusCode, header::HeaderName, header::HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::error::{UpstreamError, UpstreamFault};
use super::retry::{RetryLimits, retry_after};
use super::stream::{AnswerLimits, EventSource, millis, within};
use super::{Answer, Answered, Provider, ProviderCall};
use crate::gateway::wire::relay;
use crate::gateway::wire::request::MaxTokensField;

/// How much of an error's body is read.
const ERROR_BODY_BYTES: usize = 64 * 1024;
/// How much of a provider's own words is shown to the caller.
const ERROR_TEXT_CHARS: usize = 1024;
/// Events without content that may come before the first with content; real providers send one or two.
const MAX_EVENTS_AHEAD: usize = 64;
/// Connections kept open to one provider while idle.
const IDLE_CONNECTIONS: usize = 64;

/// What a provider is made from.
#[derive(Debug)]
pub struct OpenAiSettings {
    /// The name in configuration, prices and events.
    pub name: Code,
    /// Where `chat/completions` is under, checked by the configuration.
    pub base_url: String,
    /// The provider's key; none for servers that ask for none.
    pub api_key: Option<SecretString>,
    /// The secret that holds the key instead.
    pub secret: Option<SecretName>,
    /// How it is told the limit of an answer.
    pub max_tokens_field: MaxTokensField,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// From a stream's request to its first content.
    pub first_token_timeout: Duration,
    /// Silence, time and size of an answer.
    pub limits: AnswerLimits,
    /// Asking again.
    pub retry: RetryLimits,
}

/// The provider cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSetupError {
    /// The HTTP client, which needs a working TLS configuration.
    #[error("provider {name}: the HTTP client cannot be built: {source}")]
    Client {
        /// Which provider.
        name: Code,
        /// Why.
        source: reqwest::Error,
    },
    /// A key with characters that no header can hold.
    #[error(
        "provider {name}: the API key has characters that no HTTP header can hold; check for line breaks"
    )]
    Key {
        /// Which provider.
        name: Code,
    },
}

/// A provider that speaks OpenAI's wire.
pub struct OpenAiProvider {
    settings: OpenAiSettings,
    url: String,
    authorization: Option<HeaderValue>,
    client: reqwest::Client,
}

impl OpenAiProvider {
    /// Sets up the client; nothing is sent.
    ///
    /// # Errors
    /// See [`ProviderSetupError`].
    pub fn new(settings: OpenAiSettings) -> Result<Self, ProviderSetupError> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tcp_nodelay(true)
            .build()
            .map_err(|source| ProviderSetupError::Client {
                name: settings.name.clone(),
                source,
            })?;
        let authorization = settings.api_key.as_ref().map(bearer).transpose();
        let authorization = authorization.map_err(|_| ProviderSetupError::Key {
            name: settings.name.clone(),
        })?;
        let url = format!("{}/chat/completions", settings.base_url.trim_end_matches('/'));
        Ok(Self {
            settings,
            url,
            authorization,
            client,
        })
    }

    /// Everything that goes out beside the body. The caller's own headers never do.
    fn headers(&self, call: &ProviderCall) -> HeaderMap {
        let accept = if call.request.stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("counterfoil/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(authorization) = call.authorization.as_ref().or(self.authorization.as_ref()) {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let mut insert = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        insert("x-request-id", &call.request_id);
        if let Some(traceparent) = &call.traceparent {
            insert("traceparent", traceparent);
        }
        headers
    }

    async fn attempts(&self, call: ProviderCall) -> Result<Answered, UpstreamError> {
        let started = Instant::now();
        let deadline = started + self.settings.limits.total;
        let mut attempts = 1;
        loop {
            call.attempts.begin();
            let fault = match self.attempt(&call, deadline).await {
                Ok(answer) => return Ok(Answered { answer, attempts }),
                Err(fault) => fault,
            };
            let chance = Uuid::new_v4().as_u64_pair().1;
            let pause = self
                .settings
                .retry
                .pause(attempts, fault.retry_after(), started.elapsed(), chance);
            match pause.filter(|pause| fault.is_retryable() && Instant::now() + *pause < deadline) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(UpstreamError { fault, attempts }),
            }
            attempts += 1;
        }
    }

    async fn attempt(&self, call: &ProviderCall, deadline: Instant) -> Result<Answer, UpstreamFault> {
        let first_token = Instant::now() + self.settings.first_token_timeout;
        // A whole answer is written before its headers come, so only a stream has a first token to wait for.
        let until = if call.request.stream {
            first_token.min(deadline)
        } else {
            deadline
        };
        let request = self
            .client
            .post(&self.url)
            .headers(self.headers(call))
            .body(call.body.clone());
        let late = || {
            if until == deadline {
                UpstreamFault::Total {
                    timeout_ms: millis(self.settings.limits.total),
                }
            } else {
                UpstreamFault::FirstToken {
                    timeout_ms: millis(self.settings.first_token_timeout),
                }
            }
        };
        let response = timeout_at(until, request.send())
            .await
            .map_err(|_| late())?
            .map_err(|error| sending(&error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, deadline).await);
        }
        if call.request.stream {
            timeout_at(until, self.commit_stream(response, deadline))
                .await
                .map_err(|_| late())?
        } else {
            self.read_whole(response, deadline).await
        }
    }

    /// Reads ahead to the first content: up to there a failure can still be retried.
    async fn commit_stream(
        &self,
        response: reqwest::Response,
        deadline: Instant,
    ) -> Result<Answer, UpstreamFault> {
        if !has_media_type(response.headers(), "text/event-stream") {
            return Err(UpstreamFault::Malformed);
        }
        let mut source = EventSource::new(chunks(response), self.settings.limits, deadline);
        let mut ahead = Vec::new();
        while let Some(data) = source.next().await.transpose()? {
            let content = relay::has_content(&data).map_err(|error| match error {
                relay::RelayError::InBand => UpstreamFault::InBand,
                relay::RelayError::Malformed => UpstreamFault::Malformed,
            })?;
            ahead.push(data);
            if content || ahead.len() >= MAX_EVENTS_AHEAD {
                break;
            }
        }
        Ok(Answer::Stream(source.into_stream(ahead)))
    }

    async fn read_whole(
        &self,
        response: reqwest::Response,
        deadline: Instant,
    ) -> Result<Answer, UpstreamFault> {
        let limits = self.settings.limits;
        let (body, cut_off) = read_body(chunks(response), limits, deadline, limits.bytes).await?;
        if cut_off {
            return Err(UpstreamFault::TooLarge {
                limit_bytes: limits.bytes,
            });
        }
        let completion = serde_json::from_slice(&body).map_err(|_| UpstreamFault::Malformed)?;
        Ok(Answer::Whole { body, completion })
    }

    async fn refused(&self, response: reqwest::Response, deadline: Instant) -> UpstreamFault {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), Utc::now());
        match status {
            200..=299 => UpstreamFault::Malformed,
            300..=399 => UpstreamFault::Redirect { status },
            // Of proxies that lost their server while it worked, by their standard and by Cloudflare's custom.
            502 | 504 | 520 | 524 => UpstreamFault::GaveUp { status },
            408 | 409 | 500.. => UpstreamFault::Failed { status, retry_after },
            400 | 413 | 415 | 422 | 429 => {
                let read =
                    read_body(chunks(response), self.settings.limits, deadline, ERROR_BODY_BYTES).await;
                let error = read
                    .ok()
                    .and_then(|(body, _)| ErrorBody::read(&body))
                    .unwrap_or_default();
                match (status, error.code.as_deref()) {
                    // Waiting does not help: the account with the provider is empty.
                    (429, Some("insufficient_quota")) => UpstreamFault::Misconfigured { status },
                    (429, _) => UpstreamFault::RateLimited { retry_after },
                    _ => error.refused(status),
                }
            }
            _ => UpstreamFault::Misconfigured { status },
        }
    }
}

impl Provider for OpenAiProvider {
    fn name(&self) -> &Code {
        &self.settings.name
    }

    fn max_tokens_field(&self) -> MaxTokensField {
        self.settings.max_tokens_field
    }

    fn total_timeout(&self) -> Duration {
        self.settings.limits.total
    }

    fn secret(&self) -> Option<&SecretName> {
        self.settings.secret.as_ref()
    }

    fn call(&self, call: ProviderCall) -> BoxFuture<'_, Result<Answered, UpstreamError>> {
        self.attempts(call).boxed()
    }
}

fn bearer(key: &SecretString) -> Result<HeaderValue, hyper::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn sending(error: &reqwest::Error) -> UpstreamFault {
    if error.is_connect() {
        UpstreamFault::Connect
    } else {
        UpstreamFault::Cut
    }
}

fn chunks(response: reqwest::Response) -> BoxStream<'static, Result<Bytes, UpstreamFault>> {
    response
        .bytes_stream()
        .map(|chunk| chunk.map_err(|_| UpstreamFault::Cut))
        .boxed()
}

fn has_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .is_some_and(|media| media.trim().eq_ignore_ascii_case(wanted))
}

/// Reads a body up to a size; tells whether it went on beyond that.
async fn read_body(
    mut chunks: BoxStream<'static, Result<Bytes, UpstreamFault>>,
    limits: AnswerLimits,
    deadline: Instant,
    max_bytes: usize,
) -> Result<(Bytes, bool), UpstreamFault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = within(chunks.next(), limits, deadline).await? {
        let chunk = chunk?;
        if body.len() + chunk.len() > max_bytes {
            return Ok((body.freeze(), true));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), false))
}

#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    param: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

impl ErrorBody {
    fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Outer {
            error: ErrorBody,
        }
        serde_json::from_slice::<Outer>(body)
            .ok()
            .map(|outer| outer.error)
    }

    fn refused(self, status: u16) -> UpstreamFault {
        let short = |text: String| text.chars().take(ERROR_TEXT_CHARS).collect();
        UpstreamFault::Refused {
            status,
            message: self.message.map(short),
            param: self.param.map(short),
            code: self.code.map(short),
        }
    }
}

#[cfg(test)]
#[path = "openai_tests.rs"]
mod tests;
