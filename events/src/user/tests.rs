//! The rules of a user, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;
use uuid::Uuid;

use super::*;
use crate::ids::SubjectCommitment;
use crate::membership::Scope;
use crate::text::Code;

const LEFT: Code = Code::literal("left");

fn user() -> TestFramework<User> {
    TestFramework::with(())
}

fn enrolled() -> UserEvent {
    UserEvent::UserEnrolled {
        kind: UserKind::Person,
    }
}

fn developer_of(number: u128) -> Grant {
    Grant::new(Scope::Tenant(TenantId(Uuid::from_u128(number))), Role::Developer).unwrap()
}

fn time(text: &str) -> Timestamp {
    serde_json::from_value(text.into()).unwrap()
}

fn token(number: u128, expires_at: &str) -> UserEvent {
    UserEvent::UserTokenIssued {
        token_id: ApiKeyId(Uuid::from_u128(number)),
        hash: ApiKeyHash([1; 32]),
        expires_at: time(expires_at),
    }
}

fn issue(number: u128, now: &str) -> UserCommand {
    UserCommand::IssueToken {
        token_id: ApiKeyId(Uuid::from_u128(number)),
        hash: ApiKeyHash([1; 32]),
        now: time(now),
    }
}

#[test]
fn a_user_is_enrolled_once_and_takes_no_command_before() {
    let enrol = UserCommand::Enrol {
        kind: UserKind::Person,
    };
    user()
        .given_no_previous_events()
        .when(enrol.clone())
        .then_expect_events(vec![enrolled()]);
    user()
        .given(vec![enrolled()])
        .when(enrol)
        .then_expect_error(UserError::AlreadyExists);
    user()
        .given_no_previous_events()
        .when(UserCommand::Grant(developer_of(1)))
        .then_expect_error(UserError::NotFound);
}

#[test]
fn a_role_is_granted_once_and_revoked_once() {
    let (grant, granted) = (
        developer_of(1),
        UserEvent::MembershipGranted {
            grant: developer_of(1),
        },
    );
    let revoked = UserEvent::MembershipRevoked { grant };
    user()
        .given(vec![enrolled()])
        .when(UserCommand::Grant(grant))
        .then_expect_events(vec![granted.clone()]);
    user()
        .given(vec![enrolled(), granted.clone()])
        .when(UserCommand::Grant(grant))
        .then_expect_error(UserError::AlreadyGranted);
    user()
        .given(vec![enrolled(), granted.clone()])
        .when(UserCommand::Revoke(grant))
        .then_expect_events(vec![revoked.clone()]);
    user()
        .given(vec![enrolled(), granted, revoked])
        .when(UserCommand::Revoke(grant))
        .then_expect_error(UserError::NotGranted);
}

#[test]
fn a_user_has_so_many_roles_and_no_more() {
    let grants = (0..MAX_GRANTS as u128).map(|number| UserEvent::MembershipGranted {
        grant: developer_of(number),
    });
    user()
        .given(std::iter::once(enrolled()).chain(grants).collect())
        .when(UserCommand::Grant(developer_of(1 << 80)))
        .then_expect_error(UserError::TooManyGrants);
}

#[test]
fn a_token_lives_an_hour_and_a_suspended_user_gets_none() {
    user()
        .given(vec![enrolled()])
        .when(issue(1, "2026-11-20T12:00:00.000000Z"))
        .then_expect_events(vec![token(1, "2026-11-20T13:00:00.000000Z")]);
    user()
        .given(vec![enrolled(), UserEvent::UserSuspended { reason: LEFT }])
        .when(issue(1, "2026-11-20T12:00:00.000000Z"))
        .then_expect_error(UserError::Suspended);
}

#[test]
fn tokens_that_ended_make_room_and_leave_the_state() {
    let full = || {
        let tokens = (0..MAX_LIVE_TOKENS as u128).map(|number| token(number, "2026-11-20T13:00:00.000000Z"));
        std::iter::once(enrolled()).chain(tokens).collect::<Vec<_>>()
    };
    user()
        .given(full())
        .when(issue(99, "2026-11-20T12:59:59.999999Z"))
        .then_expect_error(UserError::TooManyTokens);
    let next = token(99, "2026-11-20T14:00:00.000000Z");
    user()
        .given(full())
        .when(issue(99, "2026-11-20T13:00:00.000000Z"))
        .then_expect_events(vec![next.clone()]);
    let mut state = User::default();
    full()
        .into_iter()
        .chain([next])
        .for_each(|event| state.fold(event));
    assert_eq!(state.details.unwrap().live_tokens.len(), 1);
}

#[test]
fn a_token_is_revoked_once() {
    let revoke = UserCommand::RevokeToken {
        token_id: ApiKeyId(Uuid::from_u128(1)),
        reason: LEFT,
    };
    let revoked = UserEvent::UserTokenRevoked {
        token_id: ApiKeyId(Uuid::from_u128(1)),
        reason: LEFT,
    };
    let issued = token(1, "2026-11-20T13:00:00.000000Z");
    user()
        .given(vec![enrolled(), issued.clone()])
        .when(revoke.clone())
        .then_expect_events(vec![revoked.clone()]);
    user()
        .given(vec![enrolled(), issued, revoked])
        .when(revoke)
        .then_expect_error(UserError::TokenNotFound(ApiKeyId(Uuid::from_u128(1))));
}

fn session(number: u128, expires_at: &str) -> UserEvent {
    UserEvent::UserSessionOpened {
        session_id: ApiKeyId(Uuid::from_u128(number)),
        hash: ApiKeyHash([2; 32]),
        expires_at: time(expires_at),
        vouched_by: None,
    }
}

fn open(number: u128, now: &str) -> UserCommand {
    UserCommand::OpenSession {
        session_id: ApiKeyId(Uuid::from_u128(number)),
        hash: ApiKeyHash([2; 32]),
        now: time(now),
        vouched_by: None,
    }
}

fn link(number: u128) -> UserCommand {
    UserCommand::LinkSubject {
        link: SubjectLinkId(Uuid::from_u128(number)),
        issuer: IssuerId(Uuid::from_u128(7)),
        home: TenantId::PLATFORM,
        commitment: SubjectCommitment([1; 32]),
    }
}

fn linked(number: u128) -> UserEvent {
    UserEvent::SubjectLinked {
        link: SubjectLinkId(Uuid::from_u128(number)),
        issuer: IssuerId(Uuid::from_u128(7)),
        home: TenantId::PLATFORM,
        commitment: SubjectCommitment([1; 32]),
    }
}

#[test]
fn a_session_is_opened_for_twelve_hours_and_not_for_a_suspended_user() {
    user()
        .given(vec![enrolled()])
        .when(open(1, "2026-11-20T12:00:00.000000Z"))
        .then_expect_events(vec![session(1, "2026-11-21T00:00:00.000000Z")]);
    user()
        .given(vec![enrolled(), UserEvent::UserSuspended { reason: LEFT }])
        .when(open(1, "2026-11-20T12:00:00.000000Z"))
        .then_expect_error(UserError::Suspended);
}

#[test]
fn the_17th_session_waits_for_an_end_and_those_that_ended_are_forgotten() {
    let full: Vec<_> = std::iter::once(enrolled())
        .chain((0..16).map(|n| session(n, "2026-11-21T00:00:00.000000Z")))
        .collect();
    user()
        .given(full.clone())
        .when(open(99, "2026-11-20T23:59:59.000000Z"))
        .then_expect_error(UserError::TooManySessions);
    let next = session(99, "2026-11-21T12:00:00.000000Z");
    user()
        .given(full.clone())
        .when(open(99, "2026-11-21T00:00:00.000000Z"))
        .then_expect_events(vec![next.clone()]);
    let mut state = User::default();
    full.into_iter().chain([next]).for_each(|event| state.fold(event));
    assert_eq!(state.details.unwrap().live_sessions.len(), 1);
}

#[test]
fn an_issuer_that_vouches_for_a_person_again_and_again_leaves_it_its_other_sessions() {
    let by = |number: u128| VouchedBy {
        issuer: IssuerId(Uuid::from_u128(number)),
        organisation: None,
        tenant: None,
    };
    let opened = |number: u128, vouched_by| match session(number, "2026-11-21T00:00:00.000000Z") {
        UserEvent::UserSessionOpened {
            session_id,
            hash,
            expires_at,
            ..
        } => UserEvent::UserSessionOpened {
            session_id,
            hash,
            expires_at,
            vouched_by,
        },
        other => other,
    };
    let mut user = User::default();
    user.fold(enrolled());
    (0..16).for_each(|number| user.fold(opened(number, Some(by(1)))));
    let open = |vouched_by| match open(99, "2026-11-20T23:00:00.000000Z") {
        UserCommand::OpenSession {
            session_id,
            hash,
            now,
            ..
        } => UserCommand::OpenSession {
            session_id,
            hash,
            now,
            vouched_by,
        },
        other => other,
    };
    assert_eq!(user.decide(open(Some(by(1)))), Err(UserError::TooManySessions));
    assert!(user.decide(open(Some(by(2)))).is_ok());
    assert!(user.decide(open(None)).is_ok());
}

#[test]
fn sessions_end_one_by_one_or_all_at_once() {
    let (one, all) = (
        UserCommand::EndSession {
            session_id: ApiKeyId(Uuid::from_u128(1)),
            reason: LEFT,
        },
        UserCommand::EndSessions { reason: LEFT },
    );
    let ended = UserEvent::UserSessionEnded {
        session_id: ApiKeyId(Uuid::from_u128(1)),
        reason: LEFT,
    };
    let given = || user().given(vec![enrolled(), session(1, "2026-11-21T00:00:00.000000Z")]);
    given().when(one.clone()).then_expect_events(vec![ended.clone()]);
    given()
        .when(all.clone())
        .then_expect_events(vec![UserEvent::UserSessionsEnded { reason: LEFT }]);
    let after = || given().and(vec![ended.clone()]);
    after()
        .when(one)
        .then_expect_error(UserError::SessionNotFound(ApiKeyId(Uuid::from_u128(1))));
    after().when(all).then_expect_error(UserError::NoSessions);
}

#[test]
fn a_person_is_linked_and_unlinked_and_a_service_is_not() {
    user()
        .given(vec![enrolled()])
        .when(link(1))
        .then_expect_events(vec![linked(1)]);
    user()
        .given(vec![enrolled(), linked(1)])
        .when(link(1))
        .then_expect_error(UserError::AlreadyLinked);
    let service = UserEvent::UserEnrolled {
        kind: UserKind::Service,
    };
    user()
        .given(vec![service])
        .when(link(1))
        .then_expect_error(UserError::IsAService);
    let all = (1..=MAX_LINKS as u128).map(linked);
    user()
        .given([enrolled()].into_iter().chain(all).collect())
        .when(link(99))
        .then_expect_error(UserError::TooManyLinks);
    let id = SubjectLinkId(Uuid::from_u128(1));
    let unlink = UserCommand::UnlinkSubject {
        link: id,
        reason: LEFT,
    };
    let unlinked = UserEvent::SubjectUnlinked {
        link: id,
        reason: LEFT,
    };
    user()
        .given(vec![enrolled(), linked(1)])
        .when(unlink.clone())
        .then_expect_events(vec![unlinked.clone()]);
    user()
        .given(vec![enrolled(), linked(1), unlinked])
        .when(unlink)
        .then_expect_error(UserError::LinkNotFound(id));
}

#[test]
fn who_signs_in_elsewhere_has_no_tokens_of_ours() {
    let at = "2026-11-20T12:00:00.000000Z";
    user()
        .given(vec![enrolled(), linked(1)])
        .when(issue(1, at))
        .then_expect_error(UserError::SignsInElsewhere);
}

#[test]
fn a_user_administers_while_it_has_the_role_and_is_not_suspended() {
    let grant = Grant::new(Scope::Platform, Role::PlatformAdmin).unwrap();
    let mut state = User::default();
    let mut after = |event| {
        state.fold(event);
        state.administers()
    };
    assert!(!after(enrolled()));
    assert!(after(UserEvent::MembershipGranted { grant }));
    assert!(!after(UserEvent::UserSuspended { reason: LEFT }));
    assert!(after(UserEvent::UserResumed {}));
    assert!(!after(UserEvent::MembershipRevoked { grant }));
}
