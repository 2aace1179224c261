//! From what a command knows to what its event says.

use super::command::{Authorization, Denial, Failure, Settlement};
use super::event::CompletionEvent;

impl From<Authorization> for CompletionEvent {
    fn from(known: Authorization) -> Self {
        Self::CompletionAuthorized {
            agent: known.agent,
            key_id: known.key_id,
            model: known.model,
            provider: known.provider,
            stream: known.stream,
            policies: known.policies,
            policy_input_digest: known.policy_input_digest,
            request_digest: known.request_digest,
            request_bytes: known.request_bytes,
            input_tokens_bound: known.input_tokens_bound,
            output_tokens_cap: known.output_tokens_cap,
            max_cost: known.max_cost,
            price: known.price,
            verdicts: known.verdicts,
            timeout_ms: known.timeout_ms,
            secret: known.secret,
        }
    }
}

impl From<Denial> for CompletionEvent {
    fn from(known: Denial) -> Self {
        Self::CompletionDenied {
            agent: known.agent,
            key_id: known.key_id,
            model: known.model,
            step: known.step,
            code: known.code,
            reasons: known.reasons,
            policies: known.policies,
            policy_input_digest: known.policy_input_digest,
            request_digest: known.request_digest,
            request_bytes: known.request_bytes,
            verdicts: known.verdicts,
        }
    }
}

impl From<Settlement> for CompletionEvent {
    fn from(known: Settlement) -> Self {
        Self::CompletionSettled {
            usage: known.usage,
            cost: known.cost,
            response_digest: known.response_digest,
            response_bytes: known.response_bytes,
            finish_reason: known.finish_reason,
            attempts: known.attempts,
            provider_ms: known.provider_ms,
            total_ms: known.total_ms,
            verdicts: known.verdicts,
        }
    }
}

impl From<Failure> for CompletionEvent {
    fn from(known: Failure) -> Self {
        Self::CompletionFailed {
            code: known.code,
            provider_status: known.provider_status,
            usage: known.usage,
            cost: known.cost,
            response_bytes: known.response_bytes,
            attempts: known.attempts,
            provider_ms: known.provider_ms,
            total_ms: known.total_ms,
            verdicts: known.verdicts,
        }
    }
}

impl Settlement {
    /// What is said when the completion counted as lost.
    pub(super) fn correction(self) -> CompletionEvent {
        CompletionEvent::CompletionCorrected {
            failure: None,
            usage: self.usage,
            cost: self.cost,
            response_digest: Some(self.response_digest),
            response_bytes: self.response_bytes,
            finish_reason: Some(self.finish_reason),
            attempts: self.attempts,
            provider_ms: self.provider_ms,
            total_ms: self.total_ms,
            verdicts: self.verdicts,
        }
    }
}

impl Failure {
    /// What is said when the completion counted as lost.
    pub(super) fn correction(self) -> CompletionEvent {
        CompletionEvent::CompletionCorrected {
            failure: Some(self.code),
            usage: self.usage,
            cost: self.cost,
            response_digest: None,
            response_bytes: self.response_bytes,
            finish_reason: None,
            attempts: self.attempts,
            provider_ms: self.provider_ms,
            total_ms: self.total_ms,
            verdicts: self.verdicts,
        }
    }
}
