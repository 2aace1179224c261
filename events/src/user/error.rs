//! Why a command to a user is refused.

use super::{MAX_GRANTS, MAX_LINKS, MAX_LIVE_SESSIONS, MAX_LIVE_TOKENS};
use crate::ids::{ApiKeyId, SubjectLinkId};
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
    /// A token of somebody who signs in without.
    #[error("this person signs in at an issuer: only the person can get a token of its own")]
    SignsInElsewhere,
    /// A service cannot sign in anywhere.
    #[error("a service has tokens and does not sign in: link a person")]
    IsAService,
    /// The link is there.
    #[error("the user has this link already")]
    AlreadyLinked,
    /// No such link.
    #[error("the user has no link {0}, or it ended before")]
    LinkNotFound(SubjectLinkId),
    /// No room for another link.
    #[error("the user signs in in {MAX_LINKS} ways, the most it may: unlink one")]
    TooManyLinks,
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
            Self::SignsInElsewhere => "user_signs_in_elsewhere",
            Self::IsAService => "user_is_a_service",
            Self::AlreadyLinked => "user_already_linked",
            Self::LinkNotFound(_) => "user_link_not_found",
            Self::TooManyLinks => "user_too_many_links",
            Self::ClockAtItsEnd => "user_clock_at_its_end",
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound
            | Self::NotGranted
            | Self::TokenNotFound(_)
            | Self::SessionNotFound(_)
            | Self::NoSessions
            | Self::LinkNotFound(_) => RejectionKind::NotFound,
            Self::AlreadyExists
            | Self::AlreadySuspended
            | Self::NotSuspended
            | Self::Suspended
            | Self::AlreadyGranted
            | Self::TooManyGrants
            | Self::TooManyTokens
            | Self::TooManySessions
            | Self::SignsInElsewhere
            | Self::IsAService
            | Self::AlreadyLinked
            | Self::TooManyLinks
            | Self::ClockAtItsEnd => RejectionKind::Conflict,
        }
    }
}
