//! The parts that events of a completion are made of: verdicts, usage, prices, endings.
//!
//! Everything here is bounded, since a completion that the provider has answered must be settled whatever the
//! answer was. Counts are 32 bits wide; who fills them in saturates.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::Bounded;
use crate::policy::PolicyRef;
use crate::text::Code;

/// Most verdicts in one event. The pipeline has fewer steps; full verdict lists are documents.
pub const MAX_VERDICTS: usize = 64;

/// Most reasons of one denial: sixteen of each of two layers.
pub const MAX_REASONS: usize = 32;

/// Most policies of one decision: one a layer, and as many again for layers to come.
pub const MAX_POLICIES: usize = 4;

/// What the pipeline's steps said, in their order.
pub type Verdicts = Bounded<StepVerdict, MAX_VERDICTS>;

/// Why a call was denied, as stable codes.
pub type Reasons = Bounded<Code, MAX_REASONS>;

/// The policies that took part in the decision.
pub type Policies = Bounded<PolicyRef, MAX_POLICIES>;

/// What one step of the pipeline said.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepVerdict {
    /// Which step, such as `policy.authz`.
    pub step: Code,
    /// Which version of the step.
    pub version: u16,
    /// What it said.
    pub verdict: Verdict,
    /// How long it took, in microseconds.
    pub micros: u32,
}

/// What a step says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to object.
    Pass,
    /// Something to look at.
    Flag,
    /// Something was taken out or rewritten.
    Redact,
    /// The call must not go on.
    Deny,
    /// It could not say.
    Unavailable,
}

/// What was used, in tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Of the prompt's tokens, how many the provider had cached.
    pub cached_tokens: u32,
    /// Whether this is our estimate, the provider not having said.
    pub estimated: bool,
}

/// The entry of the dated price table that costs were computed with.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceRef {
    /// Which entry.
    pub id: Code,
    /// From which day on it holds (ISO 8601).
    #[schemars(with = "String", extend("format" = "date"))]
    pub date: NaiveDate,
}

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done, or met a stop sequence.
    Stop,
    /// It met the token limit.
    Length,
    /// It asked for tools.
    ToolCalls,
    /// The provider held the rest back.
    ContentFilter,
    /// The client went away; what was used until then is settled.
    ClientGone,
    /// Something else, which the provider said and we do not know.
    Other,
}

/// Why a call that was authorised has no whole answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// No connection to the provider.
    ProviderUnreachable,
    /// The provider took too long.
    ProviderTimeout,
    /// The provider refused the request as wrong (4xx).
    ProviderRejected,
    /// The provider refused the request as too many (429).
    ProviderRateLimited,
    /// The provider failed (5xx).
    ProviderFailed,
    /// The provider broke off in mid-answer.
    ProviderBrokeOff,
    /// The provider's answer was not one.
    ProviderAnswerMalformed,
    /// The provider's answer was larger than we take.
    ProviderAnswerTooLarge,
    /// A step withheld the answer.
    AnswerWithheld,
    /// The client went away before there was anything.
    ClientGone,
    /// We stopped while the call was under way.
    ShuttingDown,
    /// We failed.
    Internal,
}
