//! The one error shape of this surface: `{"error":{"message","type","param","code"}}`, all four keys always.
//!
//! Messages name fields, limits and next steps, never the text that was matched or sent. Official clients
//! retry 408, 409, 429 and 5xx by themselves and obey `x-should-retry`, `retry-after-ms` and `retry-after`;
//! [`Retry`] is what each error tells them.

use std::borrow::Cow;
use std::time::Duration;

use counterfoil_events::text::Code;
use hyper::StatusCode;
use serde::Serialize;

/// What a client is told about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the client's own rule for the status holds.
    Default,
    /// Worth another try after this long.
    After(Duration),
    /// Another try will end the same way (`x-should-retry: false`).
    Never,
}

/// A refusal or failure as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {kind}: {message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// OpenAI's `type`, such as `invalid_request_error`.
    pub kind: &'static str,
    /// For people.
    pub message: String,
    /// JSON path of the field at fault.
    pub param: Option<String>,
    /// Stable code for programs.
    pub code: Option<Cow<'static, str>>,
    /// What clients are told about retrying.
    pub retry: Retry,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl ApiError {
    /// An error of any status; the helpers below fix the usual ones.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            param: None,
            code: None,
            retry: Retry::Default,
        }
    }

    /// 400 `invalid_request_error` at a JSON path.
    #[must_use]
    pub fn invalid(param: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        error.with_param(param).with_code(code)
    }

    /// 401 for every refusal of a key, in one shape, so that answers do not tell which keys exist.
    #[must_use]
    pub fn invalid_api_key() -> Self {
        let message = "Incorrect or missing API key. Send it as `Authorization: Bearer cfk_…`.";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message).with_code("invalid_api_key")
    }

    /// 404 in one shape for models that do not exist and models that the caller may not use.
    #[must_use]
    pub fn model_not_found() -> Self {
        let message = "The model does not exist or you do not have access to it. GET /v1/models lists yours.";
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
            .with_param("model")
            .with_code("model_not_found")
    }

    /// 403 for what policy denies; the code is the id of the step that said so.
    #[must_use]
    pub fn policy_violation(step: &Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "policy_violation", message)
            .with_code(step.to_string())
            .with_retry(Retry::Never)
    }

    /// 500: a fault of ours, whose cause is in the log under the request id.
    #[must_use]
    pub fn internal() -> Self {
        let message =
            "An internal error. Its cause is in the gateway's log under this request's x-request-id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message).with_code("internal_error")
    }

    /// 503 with `retry-after`: something that the gateway stands on is away, and nothing was done.
    #[must_use]
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message)
            .with_code(code)
            .with_retry(Retry::After(Duration::from_secs(1)))
    }

    /// Names the field at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Sets the code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets what clients are told about retrying.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The JSON body, also the data of an in-band error in a stream.
    #[must_use]
    pub fn to_json(&self) -> String {
        let body = Body {
            error: Fields {
                message: &self.message,
                r#type: self.kind,
                param: self.param.as_deref(),
                code: self.code.as_deref(),
            },
        };
        // Strings and options only: serialising them into memory cannot fail.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_keys_are_always_there() {
        insta::assert_snapshot!(
            ApiError::invalid_api_key().to_json(),
            @r#"{"error":{"message":"Incorrect or missing API key. Send it as `Authorization: Bearer cfk_…`.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
        );
        insta::assert_snapshot!(
            ApiError::invalid("messages[0].role", "invalid_value", "Invalid value.").to_json(),
            @r#"{"error":{"message":"Invalid value.","type":"invalid_request_error","param":"messages[0].role","code":"invalid_value"}}"#
        );
    }
}
