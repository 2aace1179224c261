//! Completions: one call of a model by an agent, from the decision to the bill.
//!
//! A completion stands in its tenant's log (aggregate id: the [`CompletionId`](crate::ids::CompletionId)). It is
//! either denied, in one event, or authorised *before* the provider is called and then ended exactly once:
//!
//! ```text
//! none ── Denied
//!   └──── Authorized ─┬─ Settled
//!                     ├─ Failed
//!                     └─ Lost ── Corrected
//! ```
//!
//! Content is not kept; digests, usage, cost, verdicts and timings are.

mod command;
mod convert;
mod error;
mod event;
mod parts;
#[cfg(test)]
mod size_tests;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::{Authorization, CompletionCommand, Denial, Failure, Settlement};
pub use error::CompletionError;
pub use event::CompletionEvent;
pub use parts::{
    FailureCode, FinishReason, MAX_POLICIES, MAX_REASONS, MAX_VERDICTS, Policies, PriceRef, Reasons,
    StepVerdict, Usage, Verdict, Verdicts,
};

use crate::aggregate::event_sourced;
use crate::money::{Currency, Money};

/// A completion's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// Nothing has happened.
    #[default]
    None,
    /// Denied, for good.
    Denied,
    /// The provider may be called.
    Authorized(UpperBound),
    /// Answered, for good.
    Settled,
    /// Failed, for good.
    Failed,
    /// Booked at its upper bound until somebody says how it ended.
    Lost(UpperBound),
    /// Lost, and then corrected, for good.
    Corrected,
}

/// What a completion uses and costs at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpperBound {
    /// In tokens.
    pub usage: Usage,
    /// In money.
    pub cost: Money,
}

event_sourced!(
    Completion,
    "completion",
    CompletionCommand,
    CompletionError,
    CompletionEvent {
        CompletionAuthorized = event::AUTHORIZED,
        CompletionDenied,
        CompletionSettled,
        CompletionFailed,
        CompletionLost,
        CompletionCorrected,
    }
);

impl Completion {
    fn decide(&self, command: CompletionCommand) -> Result<CompletionEvent, CompletionError> {
        use CompletionCommand as C;

        match (self, command) {
            (Self::None, C::Authorize(known)) => Ok((*known).into()),
            (Self::None, C::Deny(known)) => Ok((*known).into()),
            (Self::None, _) => Err(CompletionError::NotFound),
            (_, C::Authorize(_) | C::Deny(_)) => Err(CompletionError::AlreadyDecided),
            (Self::Authorized(bound), C::Settle(known)) => {
                bound.same_currency(known.cost)?;
                Ok((*known).into())
            }
            (Self::Authorized(bound), C::Fail(known)) => {
                bound.same_currency(known.cost)?;
                Ok((*known).into())
            }
            (Self::Authorized(UpperBound { usage, cost }), C::DeclareLost) => {
                Ok(CompletionEvent::CompletionLost {
                    usage: *usage,
                    cost: *cost,
                })
            }
            (Self::Lost(bound), C::Settle(known)) => {
                bound.same_currency(known.cost)?;
                Ok(known.correction())
            }
            (Self::Lost(bound), C::Fail(known)) => {
                bound.same_currency(known.cost)?;
                Ok(known.correction())
            }
            (Self::Lost(_), C::DeclareLost)
            | (Self::Denied | Self::Settled | Self::Failed | Self::Corrected, _) => {
                Err(CompletionError::AlreadyEnded)
            }
        }
    }

    fn fold(&mut self, event: CompletionEvent) {
        use CompletionEvent as E;

        *self = match event {
            E::CompletionAuthorized {
                input_tokens_bound,
                output_tokens_cap,
                max_cost,
                ..
            } => Self::Authorized(UpperBound::of(input_tokens_bound, output_tokens_cap, max_cost)),
            E::CompletionDenied { .. } => Self::Denied,
            E::CompletionSettled { .. } => Self::Settled,
            E::CompletionFailed { .. } => Self::Failed,
            E::CompletionLost { usage, cost } => Self::Lost(UpperBound { usage, cost }),
            E::CompletionCorrected { .. } => Self::Corrected,
        };
    }
}

impl UpperBound {
    fn of(input_tokens: u32, output_tokens: u32, cost: Money) -> Self {
        let usage = Usage {
            input_tokens,
            output_tokens,
            cached_tokens: 0,
            estimated: true,
        };
        Self { usage, cost }
    }

    /// A bill in another currency could not be compared with what was authorised, nor summed with it.
    fn same_currency(&self, cost: Money) -> Result<(), CompletionError> {
        let authorized: Currency = self.cost.currency;
        if cost.currency == authorized {
            Ok(())
        } else {
            Err(CompletionError::OtherCurrency { authorized })
        }
    }
}
