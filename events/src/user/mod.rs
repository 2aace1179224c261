//! Users: the people and services that act on the platform, the roles that they have, and their short-lived tokens.
//!
//! A user stands in the platform's log (aggregate id: the [`UserId`](crate::ids::UserId)) and says nothing of who it
//! is: no name, no address, no subject. A role is granted at a place ([`crate::membership`]); that the place exists is
//! checked by the caller, since it stands in another aggregate. A token lives [`TOKEN_LIFE`], no longer, and is kept as
//! a keyed hash; it carries no right of its own, only its user's roles of the moment. So does a session, which lives
//! [`SESSION_LIFE`] at the most; that it ends sooner when it is not used is not for the log to say. Where a person signs in
//! is a link to an issuer, without the name that it has there ([`crate::issuer::subject`]); from then on nobody else gets a
//! token of that person.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::UserCommand;
pub use error::UserError;
pub use event::{UserEvent, UserKind, VouchedBy};

use crate::aggregate::event_sourced;
use crate::ids::{ApiKeyHash, ApiKeyId, IssuerId, SubjectLinkId, TenantId};
use crate::membership::{Grant, Role};
use crate::text::Code;
use crate::timestamp::Timestamp;

/// How long a token works: long enough for a session of work, short enough that a lost one is soon worth nothing.
pub const TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);
/// Most tokens of a user that work at a time.
pub const MAX_LIVE_TOKENS: usize = 16;
/// How long a session works at the most, however much it is used: a working day.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// Most sessions of a user at a time by the word of one issuer, or by tokens of the platform's own: who vouches for a
/// person elsewhere cannot take all of its sessions. A user has so many issuers as it has links.
pub const MAX_LIVE_SESSIONS: usize = 16;
/// Most roles of a user. One organisation gives fewer, which the edge sees to, so that none takes all the room.
pub const MAX_GRANTS: usize = 256;

/// Most links of a user to subjects: an account or two at each of a few issuers.
pub const MAX_LINKS: usize = 8;

/// A user's state; none before it is enrolled.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct User {
    /// What is known of it.
    pub details: Option<UserDetails>,
}

/// What is known of a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserDetails {
    /// A person or a program.
    pub kind: UserKind,
    /// Whether it is denied everything.
    pub suspended: bool,
    /// Its roles.
    pub grants: BTreeSet<Grant>,
    /// Its tokens that are not revoked, with their ends; those that had ended when the latest was issued are gone.
    pub live_tokens: BTreeMap<ApiKeyId, Timestamp>,
    /// Its sessions that were not ended, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub live_sessions: BTreeMap<ApiKeyId, LiveSession>,
    /// Where it signs in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<SubjectLinkId, SubjectLink>,
}

/// A session that was not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LiveSession {
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// By whose word it was opened; none for a token of the platform's own.
    pub issuer: Option<IssuerId>,
}

/// Where a user signs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectLink {
    /// At which issuer.
    pub issuer: IssuerId,
    /// In whose scope the link's row lies.
    pub home: TenantId,
}

event_sourced!(
    User,
    "user",
    UserCommand,
    UserError,
    UserEvent {
        UserEnrolled,
        UserSuspended,
        UserResumed,
        MembershipGranted,
        MembershipRevoked,
        UserTokenIssued,
        UserTokenRevoked,
        UserSessionOpened = event::SESSION_OPENED,
        UserSessionEnded,
        UserSessionsEnded,
        SubjectLinked,
        SubjectUnlinked,
        TenantEntered,
    }
);

impl User {
    /// Whether it is a live administrator of the platform: it has the role, and is not suspended.
    #[must_use]
    pub fn administers(&self) -> bool {
        let role = |grant: &Grant| grant.role() == Role::PlatformAdmin;
        let live = self.details.as_ref().filter(|details| !details.suspended);
        live.is_some_and(|details| details.grants.iter().any(role))
    }

    fn decide(&self, command: UserCommand) -> Result<UserEvent, UserError> {
        match (&self.details, command) {
            (None, UserCommand::Enrol { kind }) => Ok(UserEvent::UserEnrolled { kind }),
            (None, _) => Err(UserError::NotFound),
            (Some(details), command) => details.decide(command),
        }
    }

    fn fold(&mut self, event: UserEvent) {
        use UserEvent as E;

        match (event, &mut self.details) {
            (E::UserEnrolled { kind }, details) => {
                *details = Some(UserDetails {
                    kind,
                    suspended: false,
                    grants: BTreeSet::new(),
                    live_tokens: BTreeMap::new(),
                    live_sessions: BTreeMap::new(),
                    links: BTreeMap::new(),
                });
            }
            // Each later event was decided on a user that exists.
            (_, None) => {}
            (E::UserSuspended { .. }, Some(details)) => details.suspended = true,
            (E::UserResumed {}, Some(details)) => details.suspended = false,
            (E::MembershipGranted { grant }, Some(details)) => drop(details.grants.insert(grant)),
            (E::MembershipRevoked { grant }, Some(details)) => drop(details.grants.remove(&grant)),
            (
                E::UserTokenIssued {
                    token_id, expires_at, ..
                },
                Some(details),
            ) => {
                let begun_at = begun(expires_at, TOKEN_LIFE);
                details.live_tokens.retain(|_, end| *end > begun_at);
                details.live_tokens.insert(token_id, expires_at);
            }
            (E::UserTokenRevoked { token_id, .. }, Some(details)) => {
                details.live_tokens.remove(&token_id);
            }
            (
                E::UserSessionOpened {
                    session_id,
                    expires_at,
                    vouched_by,
                    ..
                },
                Some(details),
            ) => {
                let begun_at = begun(expires_at, SESSION_LIFE);
                details.live_sessions.retain(|_, live| live.expires_at > begun_at);
                let issuer = vouched_by.map(|by| by.issuer);
                details
                    .live_sessions
                    .insert(session_id, LiveSession { expires_at, issuer });
            }
            (E::UserSessionEnded { session_id, .. }, Some(details)) => {
                details.live_sessions.remove(&session_id);
            }
            (E::UserSessionsEnded { .. }, Some(details)) => details.live_sessions.clear(),
            (
                E::SubjectLinked {
                    link, issuer, home, ..
                },
                Some(details),
            ) => drop(details.links.insert(link, SubjectLink { issuer, home })),
            (E::SubjectUnlinked { link, .. }, Some(details)) => drop(details.links.remove(&link)),
            (E::TenantEntered { .. }, Some(_)) => {}
        }
    }
}

impl UserDetails {
    fn decide(&self, command: UserCommand) -> Result<UserEvent, UserError> {
        use {UserCommand as C, UserError as Refused, UserEvent as E};

        match command {
            C::Enrol { .. } => Err(Refused::AlreadyExists),
            C::Suspend { .. } if self.suspended => Err(Refused::AlreadySuspended),
            C::Suspend { reason } => Ok(E::UserSuspended { reason }),
            C::Resume if !self.suspended => Err(Refused::NotSuspended),
            C::Resume => Ok(E::UserResumed {}),
            C::Grant(grant) => self.grant(grant),
            C::Revoke(grant) => self.revoke(grant),
            C::IssueToken { token_id, hash, now } => self.issue(token_id, hash, now),
            C::RevokeToken { token_id, reason } => self.revoke_token(token_id, reason),
            C::OpenSession {
                session_id,
                hash,
                now,
                vouched_by,
            } => self.open_session((session_id, hash), vouched_by, now),
            C::EndSession { session_id, reason } => self.end_session(session_id, reason),
            C::EndSessions { .. } if self.live_sessions.is_empty() => Err(Refused::NoSessions),
            C::EndSessions { reason } => Ok(E::UserSessionsEnded { reason }),
            C::LinkSubject {
                link,
                issuer,
                home,
                commitment,
            } => self.may_link(link).map(|()| E::SubjectLinked {
                link,
                issuer,
                home,
                commitment,
            }),
            C::UnlinkSubject { link, reason } => self.unlink(link, reason),
            C::Enter { .. } if self.suspended => Err(Refused::Suspended),
            C::Enter {
                tenant,
                permission,
                reason,
            } => Ok(E::TenantEntered {
                tenant,
                permission,
                reason,
            }),
        }
    }

    fn signs_in_elsewhere(&self) -> bool {
        self.kind == UserKind::Person && !self.links.is_empty()
    }

    fn may_link(&self, link: SubjectLinkId) -> Result<(), UserError> {
        match self.kind {
            UserKind::Service => Err(UserError::IsAService),
            UserKind::Person if self.suspended => Err(UserError::Suspended),
            UserKind::Person if self.links.contains_key(&link) => Err(UserError::AlreadyLinked),
            UserKind::Person if self.links.len() >= MAX_LINKS => Err(UserError::TooManyLinks),
            UserKind::Person => Ok(()),
        }
    }

    fn grant(&self, grant: Grant) -> Result<UserEvent, UserError> {
        if self.grants.contains(&grant) {
            return Err(UserError::AlreadyGranted);
        }
        if self.grants.len() >= MAX_GRANTS {
            return Err(UserError::TooManyGrants);
        }
        Ok(UserEvent::MembershipGranted { grant })
    }

    fn revoke(&self, grant: Grant) -> Result<UserEvent, UserError> {
        if !self.grants.contains(&grant) {
            return Err(UserError::NotGranted);
        }
        Ok(UserEvent::MembershipRevoked { grant })
    }

    fn revoke_token(&self, token_id: ApiKeyId, reason: Code) -> Result<UserEvent, UserError> {
        if !self.live_tokens.contains_key(&token_id) {
            return Err(UserError::TokenNotFound(token_id));
        }
        Ok(UserEvent::UserTokenRevoked { token_id, reason })
    }

    fn end_session(&self, session_id: ApiKeyId, reason: Code) -> Result<UserEvent, UserError> {
        if !self.live_sessions.contains_key(&session_id) {
            return Err(UserError::SessionNotFound(session_id));
        }
        Ok(UserEvent::UserSessionEnded { session_id, reason })
    }

    fn unlink(&self, link: SubjectLinkId, reason: Code) -> Result<UserEvent, UserError> {
        if !self.links.contains_key(&link) {
            return Err(UserError::LinkNotFound(link));
        }
        Ok(UserEvent::SubjectUnlinked { link, reason })
    }

    fn issue(&self, token_id: ApiKeyId, hash: ApiKeyHash, now: Timestamp) -> Result<UserEvent, UserError> {
        if self.signs_in_elsewhere() {
            return Err(UserError::SignsInElsewhere);
        }
        if self.suspended {
            return Err(UserError::Suspended);
        }
        if self.live_tokens.values().filter(|end| **end > now).count() >= MAX_LIVE_TOKENS {
            return Err(UserError::TooManyTokens);
        }
        let expires_at = now.checked_add(TOKEN_LIFE).ok_or(UserError::ClockAtItsEnd)?;
        Ok(UserEvent::UserTokenIssued {
            token_id,
            hash,
            expires_at,
        })
    }

    fn open_session(
        &self,
        (session_id, hash): (ApiKeyId, ApiKeyHash),
        vouched_by: Option<VouchedBy>,
        now: Timestamp,
    ) -> Result<UserEvent, UserError> {
        if self.suspended {
            return Err(UserError::Suspended);
        }
        let issuer = vouched_by.map(|by| by.issuer);
        let alike = |live: &&LiveSession| live.expires_at > now && live.issuer == issuer;
        if self.live_sessions.values().filter(alike).count() >= MAX_LIVE_SESSIONS {
            return Err(UserError::TooManySessions);
        }
        let expires_at = now.checked_add(SESSION_LIFE).ok_or(UserError::ClockAtItsEnd)?;
        Ok(UserEvent::UserSessionOpened {
            session_id,
            hash,
            expires_at,
            vouched_by,
        })
    }
}

/// All of one kind live equally long, so that a new one's end tells which have ended: the state stays bounded.
fn begun(expires_at: Timestamp, life: Duration) -> Timestamp {
    expires_at.checked_sub(life).unwrap_or(Timestamp::EPOCH)
}
