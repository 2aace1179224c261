//! Users, their roles, tokens and sessions: the part of the fold that tells who acts, beside agents and their keys.

use std::collections::HashMap;
use std::sync::Arc;

use crate::agent::key::{KeyPrefix, PresentedHash};
use crate::ids::{ApiKeyHash, ApiKeyId, IssuerId, UserId};
use crate::issuer::subject::SubjectHash;
use crate::membership::{Grant, Role, Scope};
use crate::security::credentials::{Credential, Credentials, Known};
use crate::security::subjects::Subjects;
use crate::timestamp::Timestamp;
use crate::user::{SESSION_LIFE, TOKEN_LIFE, UserEvent, UserKind, VouchedBy};

/// A user.
#[derive(Debug, Clone)]
pub struct UserEntry {
    /// A person or a program.
    pub kind: UserKind,
    /// Whether it is denied everything.
    pub suspended: bool,
    /// Its roles.
    pub grants: Arc<[Grant]>,
}

/// What a token or a session stands for, all of one moment.
#[derive(Debug, Clone)]
pub struct UserIdentity {
    /// Whose it is.
    pub user: UserId,
    /// The name of the token or the session.
    pub credential: ApiKeyId,
    /// Its keyed hash.
    pub hash: ApiKeyHash,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// By whose word it was opened, where it is a session and that was an issuer's: it reaches no further than that.
    pub vouched_by: Option<VouchedBy>,
    /// The user.
    pub entry: Arc<UserEntry>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Users {
    users: HashMap<UserId, Arc<UserEntry>>,
    tokens: Credentials<TOKEN_LIFE_S>,
    sessions: Credentials<SESSION_LIFE_S>,
    pub(super) subjects: Subjects,
}

const TOKEN_LIFE_S: u64 = TOKEN_LIFE.as_secs();
const SESSION_LIFE_S: u64 = SESSION_LIFE.as_secs();

impl Users {
    pub(super) fn identify(&self, prefix: KeyPrefix, hash: &PresentedHash) -> Option<UserIdentity> {
        self.of(self.tokens.find(prefix, hash)?)
    }

    pub(super) fn identify_session(&self, prefix: KeyPrefix, hash: &PresentedHash) -> Option<UserIdentity> {
        self.of(self.sessions.find(prefix, hash)?)
    }

    pub(super) fn sessions_of(&self, user: UserId) -> Vec<Known> {
        self.sessions.of(user).collect()
    }

    fn of(&self, shown: Credential) -> Option<UserIdentity> {
        Some(UserIdentity {
            user: shown.user,
            credential: shown.id,
            hash: shown.hash,
            expires_at: shown.expires_at,
            vouched_by: shown.vouched_by,
            entry: self.users.get(&shown.user).cloned()?,
        })
    }

    pub(super) fn identify_subject(
        &self,
        issuer: IssuerId,
        subject: SubjectHash,
    ) -> Option<(UserId, Arc<UserEntry>)> {
        let user = self.subjects.user_of(issuer, subject)?;
        Some((user, self.users.get(&user).cloned()?))
    }

    pub(super) fn grants_of(&self, user: UserId) -> Arc<[Grant]> {
        self.users
            .get(&user)
            .map(|entry| Arc::clone(&entry.grants))
            .unwrap_or_default()
    }

    /// Who has which roles at just this place, after a user, in the order of ids.
    pub(super) fn members(&self, scope: Scope, after: Option<UserId>) -> Vec<(UserId, Vec<Role>)> {
        let here = |entry: &UserEntry| -> Vec<Role> {
            let at_scope = entry.grants.iter().filter(|grant| grant.scope() == scope);
            at_scope.map(|grant| grant.role()).collect()
        };
        let mut members: Vec<_> = self
            .users
            .iter()
            .filter(|(user, _)| after.is_none_or(|after| **user > after))
            .map(|(user, entry)| (*user, here(entry)))
            .filter(|(_, roles)| !roles.is_empty())
            .collect();
        members.sort_unstable();
        members
    }

    pub(super) fn apply(&mut self, user: UserId, event: UserEvent) {
        use UserEvent as E;
        match event {
            E::UserEnrolled { kind } => {
                let new = || UserEntry {
                    kind,
                    suspended: false,
                    grants: Arc::default(),
                };
                // Read again it changes nothing: a suspended user stays suspended.
                self.users.entry(user).or_insert_with(|| Arc::new(new()));
            }
            E::UserSuspended { .. } => self.change(user, |entry| entry.suspended = true),
            E::UserResumed {} => self.change(user, |entry| entry.suspended = false),
            E::MembershipGranted { grant } => self.change(user, |entry| {
                let others = entry.grants.iter().copied().filter(|other| *other != grant);
                entry.grants = others.chain([grant]).collect();
            }),
            E::MembershipRevoked { grant } => self.change(user, |entry| {
                let others = entry.grants.iter().copied();
                entry.grants = others.filter(|other| *other != grant).collect();
            }),
            E::UserTokenIssued {
                token_id,
                hash,
                expires_at,
            } => self.tokens.issue(Credential {
                user,
                id: token_id,
                hash,
                expires_at,
                vouched_by: None,
            }),
            E::UserTokenRevoked { token_id, .. } => self.tokens.forget(user, |id, _| id == token_id),
            E::UserSessionOpened {
                session_id,
                hash,
                expires_at,
                vouched_by,
            } => self.sessions.issue(Credential {
                user,
                id: session_id,
                hash,
                expires_at,
                vouched_by,
            }),
            E::UserSessionEnded { session_id, .. } => self.sessions.forget(user, |id, _| id == session_id),
            E::UserSessionsEnded { .. } => self.sessions.forget(user, |_, _| true),
            E::SubjectLinked {
                link,
                issuer,
                commitment,
                ..
            } => self.subjects.link(user, link, issuer, commitment),
            E::SubjectUnlinked { link, .. } => self.subjects.unlink(link),
            E::TenantEntered { .. } => {}
        }
    }

    fn change(&mut self, user: UserId, change: impl FnOnce(&mut UserEntry)) {
        // Each later event was decided on a user that exists.
        if let Some(entry) = self.users.get_mut(&user) {
            change(Arc::make_mut(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agent::key::{IssuedKey, KeyPepper, PresentedKey, SESSION_MARK, TOKEN_MARK};
    use crate::ids::TenantId;
    use crate::text::Code;

    const LEFT: Code = Code::literal("left");

    fn pepper() -> KeyPepper {
        KeyPepper::new([3; 32])
    }

    fn find(users: &Users, token: &IssuedKey) -> Option<UserIdentity> {
        let presented = PresentedKey::parse_marked(TOKEN_MARK, token.expose_text()).unwrap();
        users.identify(presented.prefix(), &presented.hash(&pepper()))
    }

    fn time(text: &str) -> Timestamp {
        serde_json::from_value(text.into()).unwrap()
    }

    struct World {
        users: Users,
        user: UserId,
        token: IssuedKey,
        grant: Grant,
    }

    impl World {
        fn new() -> Self {
            let scope = Scope::Tenant(TenantId::generate());
            let mut world = Self {
                users: Users::default(),
                user: UserId::generate(),
                token: IssuedKey::generate_marked(TOKEN_MARK, &pepper()),
                grant: Grant::new(scope, Role::Developer).unwrap(),
            };
            world.begin();
            world
        }

        /// Told twice by a test: folding again changes nothing.
        fn begin(&mut self) {
            let kind = UserKind::Person;
            self.tell(UserEvent::UserEnrolled { kind });
            self.tell(UserEvent::MembershipGranted { grant: self.grant });
            self.tell(UserEvent::UserTokenIssued {
                token_id: self.token.id,
                hash: self.token.hash,
                expires_at: time("2026-11-20T13:00:00.000000Z"),
            });
        }

        fn tell(&mut self, event: UserEvent) {
            self.users.apply(self.user, event);
        }
    }

    #[test]
    fn a_token_stands_for_its_user_with_the_roles_of_the_moment() {
        let mut w = World::new();
        let found = find(&w.users, &w.token).unwrap();
        assert_eq!((found.user, &*found.entry.grants), (w.user, &[w.grant][..]));
        w.tell(UserEvent::MembershipRevoked { grant: w.grant });
        assert!(find(&w.users, &w.token).unwrap().entry.grants.is_empty());
        w.tell(UserEvent::UserSuspended { reason: LEFT });
        assert!(find(&w.users, &w.token).unwrap().entry.suspended);
        assert!(find(&w.users, &IssuedKey::generate_marked(TOKEN_MARK, &pepper())).is_none());
    }

    #[test]
    fn a_revoked_token_stands_for_nobody() {
        let mut w = World::new();
        let token_id = w.token.id;
        w.tell(UserEvent::UserTokenRevoked {
            token_id,
            reason: LEFT,
        });
        assert!(find(&w.users, &w.token).is_none());
        assert_eq!(w.users.tokens.len(), 0);
    }

    #[test]
    fn tokens_that_ended_are_forgotten_with_the_next_one() {
        let mut w = World::new();
        let next = IssuedKey::generate_marked(TOKEN_MARK, &pepper());
        w.tell(UserEvent::UserTokenIssued {
            token_id: next.id,
            hash: next.hash,
            expires_at: time("2026-11-20T14:00:00.000000Z"),
        });
        assert!(find(&w.users, &w.token).is_none());
        assert_eq!(find(&w.users, &next).unwrap().user, w.user);
    }

    #[test]
    fn a_session_stands_for_its_user_until_it_is_ended_alone_or_with_all() {
        let mut w = World::new();
        let sessions = [(); 3].map(|()| IssuedKey::generate_marked(SESSION_MARK, &pepper()));
        for session in &sessions {
            w.tell(UserEvent::UserSessionOpened {
                session_id: session.id,
                hash: session.hash,
                expires_at: time("2026-11-21T00:00:00.000000Z"),
                vouched_by: None,
            });
        }
        let find = |users: &Users, session: &IssuedKey| {
            let presented = PresentedKey::parse_marked(SESSION_MARK, session.expose_text()).unwrap();
            let found = users.identify_session(presented.prefix(), &presented.hash(&pepper()))?;
            // A session is no token.
            assert!(
                users
                    .identify(presented.prefix(), &presented.hash(&pepper()))
                    .is_none()
            );
            Some((found.user, found.credential))
        };
        assert_eq!(find(&w.users, &sessions[0]), Some((w.user, sessions[0].id)));
        let session_id = sessions[0].id;
        w.tell(UserEvent::UserSessionEnded {
            session_id,
            reason: LEFT,
        });
        assert_eq!(find(&w.users, &sessions[0]), None);
        assert_eq!(find(&w.users, &sessions[1]), Some((w.user, sessions[1].id)));
        w.tell(UserEvent::UserSessionsEnded { reason: LEFT });
        assert!(sessions.iter().all(|session| find(&w.users, session).is_none()));
        assert!(w.users.sessions_of(w.user).is_empty());
    }

    #[test]
    fn folding_events_again_changes_nothing() {
        let mut w = World::new();
        w.tell(UserEvent::UserSuspended { reason: LEFT });
        w.begin();
        let found = find(&w.users, &w.token).unwrap();
        assert!(found.entry.suspended);
        assert_eq!(found.entry.grants.len(), 1);
        assert_eq!(w.users.tokens.len(), 1);
    }

    #[test]
    fn members_are_those_with_a_role_at_just_this_place() {
        let w = World::new();
        let members = w.users.members(w.grant.scope(), None);
        assert_eq!(members, [(w.user, vec![Role::Developer])]);
        assert!(w.users.members(w.grant.scope(), Some(w.user)).is_empty());
        assert!(w.users.members(Scope::Platform, None).is_empty());
    }
}
