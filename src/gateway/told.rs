//! What a caller is told of a call that was not carried out, or of which that is not known.

use std::time::Duration;

use hyper::StatusCode;

use super::wire::{ApiError, Retry};

/// No audit, no call; and no answer without one.
pub(super) fn not_recorded() -> ApiError {
    ApiError::unavailable(
        "audit_unavailable",
        "The audit log does not take events at the moment, so the call is refused.",
    )
}

/// The log may have taken it.
pub(super) fn outcome_unknown() -> ApiError {
    ApiError::unavailable(
        "outcome_unknown",
        "It is not known whether the audit log took this call, so there is no answer. Under an \
         Idempotency-Key, ask again with the same one: it is not carried out twice.",
    )
}

/// For a caller whose answer was not there when this process had to stop.
#[must_use]
pub(super) fn shutting_down() -> ApiError {
    ApiError::unavailable(
        "shutting_down",
        "This server is stopping and could not wait for the whole answer; what the model has used is booked.",
    )
}

/// One key, one body.
pub(super) fn key_reused() -> ApiError {
    let message = "This Idempotency-Key was used for another request. Use a new key.";
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request_error", message)
        .with_code("idempotency_key_mismatch")
        .with_retry(Retry::Never)
}

/// The first call under the key has `ended` without a kept answer, or is under way.
pub(super) fn key_seen(ended: bool) -> ApiError {
    let (code, message, retry) = if ended {
        let message = "The request with this Idempotency-Key has ended, and its answer is not kept. \
                       counterfoil-position says where it stands; use a new key to ask again.";
        ("idempotency_key_used", message, Retry::Never)
    } else {
        let message = "The request with this Idempotency-Key is under way. Ask again when it may have ended.";
        (
            "idempotency_key_in_use",
            message,
            Retry::After(Duration::from_secs(1)),
        )
    };
    ApiError::new(StatusCode::CONFLICT, "invalid_request_error", message)
        .with_code(code)
        .with_retry(retry)
}
