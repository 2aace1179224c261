//! What can go wrong with a provider, by kind, and what the caller is told.
//!
//! The kind's [`UpstreamFault::code`] is what events and metrics keep; upstream text never goes there.

use std::borrow::Cow;
use std::time::Duration;

use counterfoil_events::completion::FailureCode;
use hyper::StatusCode;

use crate::gateway::wire::{ApiError, Retry};

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider call failed after {attempts} attempt(s): {fault}")]
pub struct UpstreamError {
    /// What went wrong in the last attempt.
    pub fault: UpstreamFault,
    /// How many requests were sent.
    pub attempts: u16,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFault {
    /// No connection within the time allowed, or none at all.
    #[error("no connection to the provider")]
    Connect,
    /// Nothing came before the first-token timeout.
    #[error("the provider sent no answer within {timeout_ms} ms")]
    FirstToken {
        /// The limit.
        timeout_ms: u64,
    },
    /// A stream or body stood still.
    #[error("the provider's answer stood still for {timeout_ms} ms")]
    Idle {
        /// The limit.
        timeout_ms: u64,
    },
    /// The whole took too long.
    #[error("the provider's answer took longer than {timeout_ms} ms")]
    Total {
        /// The limit.
        timeout_ms: u64,
    },
    /// A redirect, which is never followed: the key would go to an address that nobody configured.
    #[error("the provider redirected the call (status {status})")]
    Redirect {
        /// Its status.
        status: u16,
    },
    /// The provider refused the request as the caller made it.
    #[error("the provider refused the request (status {status})")]
    Refused {
        /// Its status: 400, 413 or 422.
        status: u16,
        /// The provider's words for the caller; never logged.
        message: Option<String>,
        /// The field at fault, in the provider's words.
        param: Option<String>,
        /// The provider's code.
        code: Option<String>,
    },
    /// The provider refused the gateway's own credential or does not know its model.
    #[error("the provider refused the gateway (status {status})")]
    Misconfigured {
        /// Its status: 401, 403, 404 and the like.
        status: u16,
    },
    /// Too many requests there.
    #[error("the provider is over its rate limit")]
    RateLimited {
        /// When it wants to hear from us again.
        retry_after: Option<Duration>,
    },
    /// A server error there.
    #[error("the provider failed (status {status})")]
    Failed {
        /// Its status.
        status: u16,
        /// When it wants to hear from us again.
        retry_after: Option<Duration>,
    },
    /// Something between us and the provider gave up on it: what became of the request there is not known.
    #[error("a gateway before the provider gave up on it (status {status})")]
    GaveUp {
        /// Its status: 502, 504 and the like.
        status: u16,
    },
    /// The connection broke before the end.
    #[error("the provider's answer was cut")]
    Cut,
    /// An error event in the stream.
    #[error("the provider reported an error inside its stream")]
    InBand,
    /// An answer that is not of this wire.
    #[error("the provider's answer is malformed")]
    Malformed,
    /// An answer beyond the limit.
    #[error("the provider's answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
}

impl UpstreamFault {
    /// Stable name, for events and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect => "upstream_unreachable",
            Self::FirstToken { .. } => "upstream_first_token_timeout",
            Self::Idle { .. } => "upstream_idle_timeout",
            Self::Total { .. } => "upstream_total_timeout",
            Self::Redirect { .. } => "upstream_redirect",
            Self::Refused { .. } => "upstream_refused_request",
            Self::Misconfigured { .. } => "upstream_refused_gateway",
            Self::RateLimited { .. } => "upstream_rate_limited",
            Self::Failed { .. } => "upstream_failed",
            Self::GaveUp { .. } => "upstream_gave_up",
            Self::Cut => "upstream_cut",
            Self::InBand => "upstream_error_in_stream",
            Self::Malformed => "upstream_malformed",
            Self::TooLarge { .. } => "upstream_too_large",
        }
    }

    /// Whether another attempt may go better, and this one cannot have been billed: so of all attempts of a call only the
    /// last can cost anything, and its ending accounts for the whole call. Never after the first content, which callers
    /// of this see to.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Connect | Self::RateLimited { .. } | Self::Failed { .. }
        )
    }

    /// Whether the provider may have begun work that it bills: then the call is settled at its upper bound.
    #[must_use]
    pub fn may_be_billed(&self) -> bool {
        !matches!(
            self,
            Self::Connect
                | Self::Redirect { .. }
                | Self::Refused { .. }
                | Self::Misconfigured { .. }
                | Self::RateLimited { .. }
                | Self::Failed { .. }
        )
    }

    /// What the provider asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Failed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The provider's HTTP status, where there was one that is no success.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Redirect { status }
            | Self::Refused { status, .. }
            | Self::Misconfigured { status }
            | Self::Failed { status, .. }
            | Self::GaveUp { status } => Some(*status),
            Self::RateLimited { .. } => Some(429),
            _ => None,
        }
    }

    /// As the log names it.
    #[must_use]
    pub fn failure_code(&self) -> FailureCode {
        match self {
            Self::Connect => FailureCode::ProviderUnreachable,
            Self::FirstToken { .. } | Self::Idle { .. } | Self::Total { .. } => FailureCode::ProviderTimeout,
            Self::Refused { .. } | Self::Misconfigured { .. } => FailureCode::ProviderRejected,
            Self::RateLimited { .. } => FailureCode::ProviderRateLimited,
            Self::Redirect { .. } | Self::Failed { .. } | Self::GaveUp { .. } | Self::InBand => {
                FailureCode::ProviderFailed
            }
            Self::Cut => FailureCode::ProviderBrokeOff,
            Self::Malformed => FailureCode::ProviderAnswerMalformed,
            Self::TooLarge { .. } => FailureCode::ProviderAnswerTooLarge,
        }
    }

    /// The answer for the caller.
    #[must_use]
    pub fn to_api_error(&self) -> ApiError {
        let code = self.code();
        match self {
            Self::Refused {
                status,
                message,
                param,
                code: theirs,
            } => {
                let message = message
                    .clone()
                    .unwrap_or_else(|| "The provider refused the request.".to_owned());
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
                let mut error = ApiError::new(status, "invalid_request_error", message);
                error.param.clone_from(param);
                error.with_code(theirs.clone().map_or(Cow::Borrowed(code), Cow::Owned))
            }
            Self::RateLimited { retry_after } => {
                let wait = retry_after.unwrap_or(Duration::from_secs(1));
                ApiError::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    "The provider is over its rate limit.",
                )
                .with_code("rate_limit_exceeded")
                .with_retry(Retry::After(wait))
            }
            Self::FirstToken { .. } | Self::Idle { .. } | Self::Total { .. } => {
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, "server_error", sentence(self)).with_code(code)
            }
            Self::Misconfigured { .. } | Self::Redirect { .. } => {
                // Another try meets the same configuration.
                ApiError::new(StatusCode::BAD_GATEWAY, "server_error", sentence(self))
                    .with_code(code)
                    .with_retry(Retry::Never)
            }
            _ => ApiError::new(StatusCode::BAD_GATEWAY, "server_error", sentence(self)).with_code(code),
        }
    }
}

fn sentence(fault: &UpstreamFault) -> String {
    let text = fault.to_string();
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_asked_again_that_may_have_been_billed() {
        let (status, timeout_ms, retry_after) = (500, 1, None::<Duration>);
        let faults = [
            UpstreamFault::Connect,
            UpstreamFault::FirstToken { timeout_ms },
            UpstreamFault::Idle { timeout_ms },
            UpstreamFault::Total { timeout_ms },
            UpstreamFault::Redirect { status },
            UpstreamFault::Misconfigured { status },
            UpstreamFault::RateLimited { retry_after },
            UpstreamFault::Failed { status, retry_after },
            UpstreamFault::GaveUp { status },
            UpstreamFault::Cut,
            UpstreamFault::InBand,
            UpstreamFault::Malformed,
            UpstreamFault::TooLarge { limit_bytes: 1 },
        ];
        for fault in faults {
            assert!(!(fault.is_retryable() && fault.may_be_billed()), "{fault}");
        }
        assert!(UpstreamFault::GaveUp { status: 504 }.may_be_billed());
    }
}
