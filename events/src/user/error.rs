//! Why a command to a user is refused.

use super::{MAX_GRANTS, MAX_LIVE_SESSIONS, MAX_LIVE_TOKENS};
use crate::ids::ApiKeyId;
use crate::rejection::{Rejection, RejectionKind};

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("there is no such user: enrol it first")]
    NotFound,
    /// Its id is taken.
    #[error("a user with this id already exists: take another id")]
    AlreadyExists,
    /// Suspended before.
    #[error("the user is suspended already: resume it first")]
    AlreadySuspended,
    /// Not suspended.
    #[error("the user is not suspended")]
    NotSuspended,
    /// It may not act, nor get a token.
    #[error("the user is suspended: resume it first")]
    Suspended,
    /// It has the role.
    #[error("the user has this role here already")]
    AlreadyGranted,
    /// It does not have the role.
    #[error("the user does not have this role here")]
    NotGranted,
    /// No room for another role.
    #[error(
        "the user has {MAX_GRANTS} roles, the most it may have: revoke one, or grant one at its organisation"
    )]
    TooManyGrants,
    /// No such token.
    #[error("the user has no token {0}, or it ended before")]
    TokenNotFound(ApiKeyId),
    /// No room for another token.
    #[error(
        "the user has {MAX_LIVE_TOKENS} tokens that work, the most it may have: revoke one, or wait for an end"
    )]
    TooManyTokens,
    /// No such session.
    #[error("the user has no session {0}, or it ended before")]
    SessionNotFound(ApiKeyId),
    /// No session at all.
    #[error("the user has no session")]
    NoSessions,
    /// No room for another session.
    #[error("the user has {MAX_LIVE_SESSIONS} sessions, the most it may have: end one, or wait for an end")]
    TooManySessions,
    /// A clock that cannot be.
    #[error("the clock stands at the end of time: set it right")]
    ClockAtItsEnd,
}

impl Rejection for UserError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "user_not_found",
            Self::AlreadyExists => "user_already_exists",
            Self::AlreadySuspended => "user_already_suspended",
            Self::NotSuspended => "user_not_suspended",
            Self::Suspended => "user_suspended",
            Self::AlreadyGranted => "user_already_granted",
            Self::NotGranted => "user_not_granted",
            Self::TooManyGrants => "user_too_many_grants",
            Self::TokenNotFound(_) => "user_token_not_found",
            Self::TooManyTokens => "user_too_many_tokens",
            Self::SessionNotFound(_) => "user_session_not_found",
            Self::NoSessions => "user_no_sessions",
            Self::TooManySessions => "user_too_many_sessions",
            Self::ClockAtItsEnd => "user_clock_at_its_end",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound
            | Self::NotGranted
            | Self::TokenNotFound(_)
            | Self::SessionNotFound(_)
            | Self::NoSessions => RejectionKind::NotFound,
            Self::AlreadyExists
            | Self::AlreadySuspended
            | Self::NotSuspended
            | Self::Suspended
            | Self::AlreadyGranted
            | Self::TooManyGrants
            | Self::TooManyTokens
            | Self::TooManySessions
            | Self::ClockAtItsEnd => RejectionKind::Conflict,
        }
    }
}
