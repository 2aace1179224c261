//! How a call ended, as far as the provider and the caller are concerned: what settling starts from.

use counterfoil_events::completion::{FailureCode, FinishReason};
use counterfoil_events::ids::ContentDigest;

use super::pipeline::context::Denial;
use super::upstream::UpstreamFault;
use super::wire::response::Usage;

/// How a call ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// A step denied it; the provider was not called.
    Denied(Denial),
    /// The answer is there, or the caller left while it came.
    Answered(Answered),
    /// There is no whole answer.
    Failed(Failed),
}

/// What was delivered.
#[derive(Debug, Clone, Copy)]
pub struct Delivered {
    /// Length of what the caller was given.
    pub bytes: u64,
    /// How many requests the provider got.
    pub attempts: u16,
    /// How long the provider took.
    pub provider_ms: u32,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What was used.
    pub used: Used,
    /// Digest of what the caller was given.
    pub digest: ContentDigest,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What was delivered.
    pub delivered: Delivered,
}

/// No whole answer.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Why.
    pub code: FailureCode,
    /// The provider's status, where there was one.
    pub provider_status: Option<u16>,
    /// What was used.
    pub used: Used,
    /// What was delivered.
    pub delivered: Delivered,
}

impl Failed {
    /// A failure before anything was delivered.
    #[must_use]
    pub fn before_content(
        code: FailureCode,
        provider_status: Option<u16>,
        used: Used,
        attempts: u16,
        provider_ms: u32,
    ) -> Self {
        Self {
            code,
            provider_status,
            used,
            delivered: Delivered {
                bytes: 0,
                attempts,
                provider_ms,
            },
        }
    }
}

/// What is known of what was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// The provider has done nothing that it bills.
    Nothing,
    /// The provider says.
    Reported(Usage),
    /// The provider does not say; so many bytes of its answer were seen.
    Seen {
        /// Of text and arguments.
        output_bytes: u64,
    },
    /// The answer broke off: the provider has said this so far, and so many bytes of its answer were seen.
    Part {
        /// What the provider said.
        reported: Usage,
        /// Of text and arguments.
        output_bytes: u64,
    },
    /// The provider may have done anything up to the bound.
    Unknown,
}

impl Used {
    /// What a failure before any content leaves open.
    #[must_use]
    pub fn after(fault: &UpstreamFault) -> Self {
        if fault.may_be_billed() {
            Self::Unknown
        } else {
            Self::Nothing
        }
    }

    /// The provider's word if it gave one, else what was seen.
    #[must_use]
    pub fn reported_or_seen(usage: Option<Usage>, output_bytes: u64) -> Self {
        usage.map_or(Self::Seen { output_bytes }, Self::Reported)
    }

    /// Of an answer that broke off. What the provider reports along the way is of what it had written by then.
    #[must_use]
    pub fn of_a_part(usage: Option<Usage>, output_bytes: u64) -> Self {
        let part = |reported| Self::Part {
            reported,
            output_bytes,
        };
        usage.map_or(Self::Seen { output_bytes }, part)
    }
}

/// The log's word for a provider's finish reason.
#[must_use]
pub fn finish_reason(text: Option<&str>) -> FinishReason {
    match text {
        Some("stop") => FinishReason::Stop,
        Some("length") => FinishReason::Length,
        Some("tool_calls" | "function_call") => FinishReason::ToolCalls,
        Some("content_filter") => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}
