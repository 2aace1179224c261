//! Why a command to an agent is refused.

use super::{MAX_GRACE, MAX_LIVE_KEYS};
use crate::ids::ApiKeyId;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no such agent.
    #[error("there is no such agent: register it first")]
    NotFound,
    /// Its id is taken.
    #[error("an agent with this id already exists: take another id")]
    AlreadyExists,
    /// Nothing would change.
    #[error("the agent has this very spec card already")]
    Unchanged,
    /// Suspended before.
    #[error("the agent is suspended already: resume it first")]
    AlreadySuspended,
    /// Not suspended.
    #[error("the agent is not suspended")]
    NotSuspended,
    /// An agent without models could do nothing.
    #[error("the spec card names no model: name each model that the agent may use")]
    NoModels,
    /// A model named twice.
    #[error("the spec card names a model twice: name each once")]
    ModelTwice,
    /// A tool scope named twice.
    #[error("the spec card names a tool scope twice: name each once")]
    ToolScopeTwice,
    /// The card cannot be kept.
    #[error("the spec card does not fit a document: shorten it")]
    CardUnwritable,
    /// No such key, or revoked before.
    #[error("the agent has no key {0}, or it was revoked before")]
    KeyNotFound(ApiKeyId),
    /// A key of this id is there.
    #[error("the agent has a key {0} already: take another id")]
    KeyIdTaken(ApiKeyId),
    /// No room for another key.
    #[error(
        "the agent has {MAX_LIVE_KEYS} keys that are not revoked, the most it may have: revoke one first"
    )]
    TooManyKeys,
    /// It was rotated before.
    #[error("the key {0} is ending already: rotate the one that replaced it")]
    KeyEnding(ApiKeyId),
    /// Longer than may be.
    #[error("the grace of a key is at most {} seconds", MAX_GRACE.as_secs())]
    GraceTooLong,
    /// A clock that cannot be.
    #[error("the clock stands at the end of time: set it right")]
    ClockAtItsEnd,
    /// It would never work.
    #[error("the key would expire in the past: give a later time, or none")]
    ExpiresInThePast,
}

impl Rejection for AgentError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "agent_not_found",
            Self::AlreadyExists => "agent_already_exists",
            Self::Unchanged => "agent_unchanged",
            Self::AlreadySuspended => "agent_already_suspended",
            Self::NotSuspended => "agent_not_suspended",
            Self::NoModels => "agent_no_models",
            Self::ModelTwice => "agent_model_twice",
            Self::ToolScopeTwice => "agent_tool_scope_twice",
            Self::CardUnwritable => "agent_card_too_large",
            Self::KeyNotFound(_) => "agent_key_not_found",
            Self::KeyIdTaken(_) => "agent_key_id_taken",
            Self::TooManyKeys => "agent_too_many_keys",
            Self::KeyEnding(_) => "agent_key_ending",
            Self::GraceTooLong => "agent_key_grace_too_long",
            Self::ClockAtItsEnd => "agent_clock_at_its_end",
            Self::ExpiresInThePast => "agent_key_expires_in_the_past",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound | Self::KeyNotFound(_) => RejectionKind::NotFound,
            Self::NoModels | Self::ModelTwice => RejectionKind::Invalid { field: "models" },
            Self::ToolScopeTwice => RejectionKind::Invalid { field: "tool_scopes" },
            Self::CardUnwritable => RejectionKind::Invalid { field: "card" },
            Self::GraceTooLong => RejectionKind::Invalid { field: "grace_s" },
            Self::ExpiresInThePast => RejectionKind::Invalid { field: "expires_at" },
            Self::AlreadyExists
            | Self::Unchanged
            | Self::AlreadySuspended
            | Self::NotSuspended
            | Self::KeyIdTaken(_)
            | Self::KeyEnding(_)
            | Self::ClockAtItsEnd
            | Self::TooManyKeys => RejectionKind::Conflict,
        }
    }
}
