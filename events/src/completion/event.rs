//! What happens to a completion.
//!
//! `CompletionSettled`, `CompletionFailed`, `CompletionLost` and `CompletionCorrected` come after the provider has been
//! called and must not fail late: their fields are bounded so that no input makes an envelope too large.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parts::{FailureCode, FinishReason, Policies, PriceRef, Reasons, Usage, Verdicts};
use crate::ids::{AgentId, ApiKeyId, ContentDigest, PolicyInputDigest};
use crate::money::Money;
use crate::schema::{EventSchema, Upcast};
use crate::secret::SecretRef;
use crate::text::{Code, ModelName};

/// An event of a completion, in its tenant's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum CompletionEvent {
    /// Everything allowed the call; the provider may be called now, and not before this is durable.
    CompletionAuthorized {
        /// Who asked.
        agent: AgentId,
        /// By which key.
        key_id: ApiKeyId,
        /// Which model is called.
        model: ModelName,
        /// At which provider, by its name in the configuration.
        provider: Code,
        /// Whether the answer is streamed.
        stream: bool,
        /// The policies that allowed it.
        policies: Policies,
        /// Digest of the document that they decided upon, so that the decision can be made again from it.
        policy_input_digest: PolicyInputDigest,
        /// Digest of the request's body.
        request_digest: ContentDigest,
        /// Length of the request's body.
        request_bytes: u32,
        /// Upper bound of the prompt's tokens.
        input_tokens_bound: u32,
        /// Upper bound of the answer's tokens.
        output_tokens_cap: u32,
        /// What it costs at most.
        max_cost: Money,
        /// The price it is costed with.
        price: PriceRef,
        /// What the steps said.
        verdicts: Verdicts,
        /// How long the whole call may take; a minute after that it counts as lost.
        timeout_ms: u32,
        /// The provider's key that is opened for the call, where it is in the vault: this is the record of opening it.
        secret: Option<SecretRef>,
    },
    /// The call was denied; the provider was not called. The first and only event of its aggregate.
    CompletionDenied {
        /// Who asked.
        agent: AgentId,
        /// By which key.
        key_id: ApiKeyId,
        /// Which model was asked for, if it is one of ours: a caller's free text is not recorded.
        model: Option<ModelName>,
        /// Which step denied it.
        step: Code,
        /// With which code.
        code: Code,
        /// Why, as the policy's codes.
        reasons: Reasons,
        /// The policies that took part.
        policies: Policies,
        /// Digest of the document that they decided upon; none if it was denied before they were asked.
        policy_input_digest: Option<PolicyInputDigest>,
        /// Digest of the request's body.
        request_digest: ContentDigest,
        /// Length of the request's body.
        request_bytes: u32,
        /// What the steps said.
        verdicts: Verdicts,
    },
    /// The answer is there, and paid for.
    CompletionSettled {
        /// What was used.
        usage: Usage,
        /// What it cost.
        cost: Money,
        /// Digest of the answer's body as the client was given it.
        response_digest: ContentDigest,
        /// Length of that body.
        response_bytes: u32,
        /// Why the answer ended.
        finish_reason: FinishReason,
        /// How often the provider was called.
        attempts: u16,
        /// How long the provider took.
        provider_ms: u32,
        /// How long the whole call took.
        total_ms: u32,
        /// What the steps after the provider said.
        verdicts: Verdicts,
    },
    /// There is no whole answer; what was used until then is paid for.
    CompletionFailed {
        /// Why.
        code: FailureCode,
        /// The provider's HTTP status, where there was one.
        provider_status: Option<u16>,
        /// What was used.
        usage: Usage,
        /// What it cost.
        cost: Money,
        /// Length of what the client was given.
        response_bytes: u32,
        /// How often the provider was called.
        attempts: u16,
        /// How long the provider took.
        provider_ms: u32,
        /// How long the whole call took.
        total_ms: u32,
        /// What the steps after the provider said.
        verdicts: Verdicts,
    },
    /// Nobody said in time how the call ended; it is booked at its upper bound.
    CompletionLost {
        /// The upper bound of what was used.
        usage: Usage,
        /// The upper bound of what it cost.
        cost: Money,
    },
    /// How a completion that counted as lost did end: these figures take the place of the upper bound.
    CompletionCorrected {
        /// Why there is no whole answer; none if there is one.
        failure: Option<FailureCode>,
        /// What was used.
        usage: Usage,
        /// What it cost.
        cost: Money,
        /// Digest of the answer's body; none if there is no whole answer.
        response_digest: Option<ContentDigest>,
        /// Length of what the client was given.
        response_bytes: u32,
        /// Why the answer ended; none if there is no whole answer.
        finish_reason: Option<FinishReason>,
        /// How often the provider was called.
        attempts: u16,
        /// How long the provider took.
        provider_ms: u32,
        /// How long the whole call took.
        total_ms: u32,
        /// What the steps after the provider said.
        verdicts: Verdicts,
    },
}

/// Version 1.0 knew no vault: a provider's key came from the configuration.
pub(super) const AUTHORIZED: EventSchema = EventSchema {
    event_type: "CompletionAuthorized",
    version: "1.1",
    upcasts: &[Upcast {
        from: "1.0",
        to: "1.1",
        lift: without_secret,
    }],
};

fn without_secret(mut payload: Value) -> Value {
    if let Some(fields) = payload.as_object_mut() {
        fields.insert("secret".to_owned(), Value::Null);
    }
    payload
}
