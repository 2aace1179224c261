//! What may be asked of a completion.
//!
//! Each command is a struct of its own, since the gateway fills it in field by field as the call proceeds.

use super::parts::{FailureCode, FinishReason, Policies, PriceRef, Reasons, Usage, Verdicts};
use crate::ids::{AgentId, ApiKeyId, ContentDigest, PolicyInputDigest};
use crate::money::Money;
use crate::secret::SecretRef;
use crate::text::{Code, ModelName};

/// A command to a completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CompletionCommand {
    /// Record that everything allowed it, before the provider is called.
    Authorize(Box<Authorization>),
    /// Record that it was denied.
    Deny(Box<Denial>),
    /// Record its answer. A completion that counts as lost is corrected.
    Settle(Box<Settlement>),
    /// Record that there is no whole answer. A completion that counts as lost is corrected.
    Fail(Box<Failure>),
    /// Book it at its upper bound, nobody having said how it ended.
    DeclareLost,
}

/// Everything that is known when a call is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization {
    /// Who asked.
    pub agent: AgentId,
    /// By which key.
    pub key_id: ApiKeyId,
    /// Which model is called.
    pub model: ModelName,
    /// At which provider.
    pub provider: Code,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// The policies that allowed it.
    pub policies: Policies,
    /// Digest of the document that they decided upon, so that the decision can be made again from it.
    pub policy_input_digest: PolicyInputDigest,
    /// Digest of the request's body.
    pub request_digest: ContentDigest,
    /// Length of the request's body.
    pub request_bytes: u32,
    /// Upper bound of the prompt's tokens.
    pub input_tokens_bound: u32,
    /// Upper bound of the answer's tokens.
    pub output_tokens_cap: u32,
    /// What it costs at most.
    pub max_cost: Money,
    /// The price it is costed with.
    pub price: PriceRef,
    /// What the steps said.
    pub verdicts: Verdicts,
    /// How long the whole call may take.
    pub timeout_ms: u32,
    /// The provider's key that is opened for the call, where it is in the vault.
    pub secret: Option<SecretRef>,
}

/// Everything that is known when a call is denied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Who asked.
    pub agent: AgentId,
    /// By which key.
    pub key_id: ApiKeyId,
    /// Which model was asked for, if it is one of ours.
    pub model: Option<ModelName>,
    /// Which step denied it.
    pub step: Code,
    /// With which code.
    pub code: Code,
    /// Why, as the policy's codes.
    pub reasons: Reasons,
    /// The policies that took part.
    pub policies: Policies,
    /// Digest of the document that they decided upon; none if it was denied before they were asked.
    pub policy_input_digest: Option<PolicyInputDigest>,
    /// Digest of the request's body.
    pub request_digest: ContentDigest,
    /// Length of the request's body.
    pub request_bytes: u32,
    /// What the steps said.
    pub verdicts: Verdicts,
}

/// Everything that is known when the answer is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// What was used.
    pub usage: Usage,
    /// What it cost, in the currency of the authorised maximum.
    pub cost: Money,
    /// Digest of the answer's body.
    pub response_digest: ContentDigest,
    /// Length of that body.
    pub response_bytes: u32,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
    /// How often the provider was called.
    pub attempts: u16,
    /// How long the provider took.
    pub provider_ms: u32,
    /// How long the whole call took.
    pub total_ms: u32,
    /// What the steps after the provider said.
    pub verdicts: Verdicts,
}

/// Everything that is known when there is no whole answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Why.
    pub code: FailureCode,
    /// The provider's HTTP status, where there was one.
    pub provider_status: Option<u16>,
    /// What was used.
    pub usage: Usage,
    /// What it cost, in the currency of the authorised maximum.
    pub cost: Money,
    /// Length of what the client was given.
    pub response_bytes: u32,
    /// How often the provider was called.
    pub attempts: u16,
    /// How long the provider took.
    pub provider_ms: u32,
    /// How long the whole call took.
    pub total_ms: u32,
    /// What the steps after the provider said.
    pub verdicts: Verdicts,
}
