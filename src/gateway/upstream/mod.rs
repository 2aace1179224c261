//! Providers: who answers a call that was allowed.
//!
//! **Contract of [`Provider`].** A call resolves when the provider has *committed*: to a whole answer, or, for a
//! stream, to its first event with content. Until then the provider may retry by itself within its budget;
//! afterwards never, so that no answer is paid for twice. Dropping the future or the stream cancels the call
//! upstream. Errors carry a stable code and whether the provider may already have begun work that it bills;
//! text of the provider's own only where it is the caller's to see (a refused parameter).

pub mod demo;
mod demo_text;
mod error;
pub mod openai;
pub mod retry;
pub mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use counterfoil_events::secret::SecretName;
use counterfoil_events::text::{Code, ModelName};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyper::header::HeaderValue;

pub use error::{UpstreamError, UpstreamFault};

use super::wire::ChatRequest;
use super::wire::request::MaxTokensField;
use super::wire::response::ChatCompletion;

/// How many requests were sent for a call: shared with whoever cancels it, who gets no answer that says so.
#[derive(Debug, Clone, Default)]
pub struct Attempts(Arc<AtomicU16>);

impl Attempts {
    /// One more is about to be sent.
    pub fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many were.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One call, as a provider gets it.
#[derive(Debug, Clone)]
pub struct ProviderCall {
    /// The body to forward: the caller's bytes with the gateway's edits (upstream model name, usage, limits).
    pub body: Bytes,
    /// The same request, read.
    pub request: Arc<ChatRequest>,
    /// The provider's name of the model.
    pub upstream_model: ModelName,
    /// The limit on each answer's tokens that the forwarded body asks for.
    pub max_tokens: u64,
    /// Our id for the call, sent along for support questions.
    pub request_id: String,
    /// W3C trace context, passed on.
    pub traceparent: Option<String>,
    /// Seconds since 1970, for providers that stamp answers themselves.
    pub created: i64,
    /// The `Authorization` header with the key from the vault, opened for this call; marked as sensitive.
    pub authorization: Option<HeaderValue>,
    /// Counts the requests that are sent for it.
    pub attempts: Attempts,
}

/// What a provider committed to.
pub enum Answer {
    /// A whole answer.
    Whole {
        /// Its JSON text, as it came.
        body: Bytes,
        /// The same, read.
        completion: ChatCompletion,
    },
    /// The data of each event, without `[DONE]`. It ends after `[DONE]`, or with an error, and is fused.
    Stream(BoxStream<'static, Result<String, UpstreamFault>>),
}

/// An answer and what it took to get it.
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// How many requests were sent for it, from 1.
    pub attempts: u16,
}

/// Someone who answers calls. See the module's contract.
pub trait Provider: Send + Sync {
    /// The name in configuration, prices and events.
    fn name(&self) -> &Code;

    /// The field by which it is told the limit of an answer when the caller named none.
    fn max_tokens_field(&self) -> MaxTokensField;

    /// Longest that a call may take, retries and stream included.
    fn total_timeout(&self) -> Duration;

    /// The secret of the platform that holds its key; none if it has the key itself, or needs none.
    fn secret(&self) -> Option<&SecretName> {
        None
    }

    /// Sends one call.
    fn call(&self, call: ProviderCall) -> BoxFuture<'_, Result<Answered, UpstreamError>>;
}

/// Milliseconds since a provider was called, as events hold them.
#[must_use]
pub fn elapsed_ms(called: Instant) -> u32 {
    u32::try_from(called.elapsed().as_millis()).unwrap_or(u32::MAX)
}
