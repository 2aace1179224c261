//! What a call answers with, and the headers of it.

use std::time::Duration;

use bytes::Bytes;
use counterfoil_events::completion::Policies;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::text::{Code, ModelName};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::kept::KeptAnswer;
use super::pipeline::Context;
use super::wire::{ApiError, Retry};
use crate::http::answer::{Response, bytes_of};
use crate::http::context::POSITION;
use crate::http::stream::{SseEvent, sse_finite};
use crate::limits::Verdict as RateVerdict;

/// What is said about a call beside its body.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Where its last event stands; for a stream, its authorisation.
    pub position: Option<(TenantId, Position)>,
    /// What the provider calls the model.
    pub model: Option<ModelName>,
    /// Who answered.
    pub provider: Option<Code>,
    /// How many requests the provider got.
    pub attempts: Option<u16>,
    /// The policies that decided.
    pub policies: Policies,
    /// Where the key's rate stands.
    #[serde(skip)]
    pub rate: Option<RateFacts>,
}

/// A key's rate of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateFacts {
    /// Requests that may come at once.
    pub limit: u32,
    /// Of them, how many are left.
    pub remaining: u32,
    /// Until all are there again.
    pub reset_after: Duration,
}

impl Facts {
    /// Of a call, as far as it has come.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        let rate = |verdict: &RateVerdict| RateFacts {
            limit: verdict.limit,
            remaining: verdict.remaining,
            reset_after: verdict.reset_after,
        };
        let bound = context.identity.as_ref().filter(|_| context.bound);
        Self {
            position: context
                .receipt
                .as_ref()
                .map(|receipt| (receipt.tenant, receipt.position)),
            model: context.model.as_ref().map(|model| model.upstream_model.clone()),
            provider: context.model.as_ref().map(|model| model.provider.name().clone()),
            attempts: None,
            policies: bound.map(|identity| identity.policy_refs()).unwrap_or_default(),
            rate: context.rate.as_ref().map(rate),
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        let mut insert = |name: &'static str, text: String| {
            // Ids, codes and numbers: all in a header's alphabet.
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        if let Some((tenant, position)) = &self.position {
            insert(POSITION, format!("{tenant}:{position}"));
        }
        if let Some(model) = &self.model {
            insert("counterfoil-model", model.to_string());
        }
        if let Some(provider) = &self.provider {
            insert("counterfoil-provider", provider.to_string());
        }
        if let Some(attempts) = self.attempts {
            insert("counterfoil-attempts", attempts.to_string());
        }
        if !self.policies.is_empty() {
            let named = self
                .policies
                .iter()
                .map(|policy| format!("{};v={};{}", policy.layer, policy.version, policy.digest));
            insert("counterfoil-policy", named.collect::<Vec<_>>().join(", "));
        }
        if let Some(rate) = &self.rate {
            insert("x-ratelimit-limit-requests", rate.limit.to_string());
            insert("x-ratelimit-remaining-requests", rate.remaining.to_string());
            insert(
                "x-ratelimit-reset-requests",
                format!("{}ms", rate.reset_after.as_millis()),
            );
        }
    }
}

/// What a call answers with.
pub enum Reply {
    /// A whole answer, as it came from the provider.
    Whole(Bytes),
    /// The events of a stream, as they come.
    Stream(mpsc::Receiver<SseEvent>),
    /// The kept answer of an earlier call.
    Kept(KeptAnswer),
    /// An error.
    Error(Box<ApiError>),
}

/// A reply and what is said about it.
pub struct Replied {
    /// The reply.
    pub reply: Reply,
    /// What is said about it.
    pub facts: Facts,
}

impl Replied {
    /// An error of a call.
    #[must_use]
    pub fn error(error: ApiError, facts: Facts) -> Self {
        Self {
            reply: Reply::Error(Box::new(error)),
            facts,
        }
    }

    /// As HTTP. `took` is the time since the request came.
    #[must_use]
    pub fn into_response(self, took: Duration) -> Response {
        let mut facts = self.facts;
        let mut replayed = false;
        let mut response = match self.reply {
            Reply::Whole(body) => bytes_of(StatusCode::OK, "application/json", body),
            Reply::Stream(events) => {
                let next = |mut events: mpsc::Receiver<SseEvent>| async move {
                    Some((events.recv().await?, events))
                };
                sse_finite(stream::unfold(events, next))
            }
            Reply::Kept(kept) => {
                replayed = true;
                facts = Facts {
                    rate: facts.rate,
                    ..kept.facts
                };
                let media = if kept.stream {
                    "text/event-stream; charset=utf-8"
                } else {
                    "application/json"
                };
                bytes_of(StatusCode::OK, media, kept.body)
            }
            Reply::Error(error) => render(&error),
        };
        let headers = response.headers_mut();
        facts.write(headers);
        if replayed {
            headers.insert(
                HeaderName::from_static("idempotent-replayed"),
                HeaderValue::from_static("true"),
            );
        }
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        headers.insert(
            HeaderName::from_static("openai-processing-ms"),
            HeaderValue::from(took_ms),
        );
        response
    }
}

/// An error as HTTP, with what it tells clients about retrying.
#[must_use]
pub fn render(error: &ApiError) -> Response {
    let mut response = bytes_of(error.status, "application/json", error.to_json());
    let headers = response.headers_mut();
    match error.retry {
        Retry::Default => {}
        Retry::Never => {
            headers.insert(
                HeaderName::from_static("x-should-retry"),
                HeaderValue::from_static("false"),
            );
        }
        Retry::After(wait) => {
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(ms));
            headers.insert(
                HeaderName::from_static("retry-after"),
                HeaderValue::from(ms.div_ceil(1000)),
            );
        }
    }
    if error.status == StatusCode::UNAUTHORIZED {
        headers.insert(
            HeaderName::from_static("www-authenticate"),
            HeaderValue::from_static("Bearer"),
        );
    }
    response
}
