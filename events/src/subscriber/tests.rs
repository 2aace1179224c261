//! The rules of subscribers, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::ids::ApiKeyHash;
use crate::text::Code;

const LEAKED: Code = Code::literal("leaked");

fn subscribers() -> TestFramework<Subscribers> {
    TestFramework::with(())
}

fn id(n: u128) -> ApiKeyId {
    ApiKeyId(uuid::Uuid::from_u128(n))
}

fn noon_and(seconds: u64) -> Timestamp {
    let noon: Timestamp = "2026-11-20T12:00:00.000000Z".parse().unwrap();
    noon.checked_add(Duration::from_secs(seconds)).unwrap()
}

fn issue(n: u128, life_s: u64, now: Timestamp) -> SubscriberCommand {
    SubscriberCommand::Issue {
        credential_id: id(n),
        hash: ApiKeyHash([1; 32]),
        life: Duration::from_secs(life_s),
        now,
    }
}

fn issued(n: u128, expires_at: Timestamp) -> SubscriberEvent {
    SubscriberEvent::SubscriberCredentialIssued {
        credential_id: id(n),
        hash: ApiKeyHash([1; 32]),
        expires_at,
    }
}

#[test]
fn a_credential_works_for_hours_at_the_most() {
    for life_s in [0, 12 * 3600 + 1] {
        subscribers()
            .given_no_previous_events()
            .when(issue(1, life_s, noon_and(0)))
            .then_expect_error(SubscriberError::TooLong);
    }
    subscribers()
        .given_no_previous_events()
        .when(issue(1, 12 * 3600, noon_and(0)))
        .then_expect_events(vec![issued(1, noon_and(12 * 3600))]);
}

#[test]
fn the_17th_waits_for_an_end() {
    let full: Vec<_> = (0..16).map(|n| issued(n, noon_and(60))).collect();
    subscribers()
        .given(full.clone())
        .when(issue(99, 60, noon_and(59)))
        .then_expect_error(SubscriberError::TooMany);
    subscribers()
        .given(full)
        .when(issue(99, 60, noon_and(60)))
        .then_expect_events(vec![issued(99, noon_and(120))]);
}

#[test]
fn a_credential_is_revoked_once() {
    let revoke = || SubscriberCommand::Revoke {
        credential_id: id(1),
        reason: LEAKED,
    };
    let revoked = SubscriberEvent::SubscriberCredentialRevoked {
        credential_id: id(1),
        reason: LEAKED,
    };
    subscribers()
        .given(vec![issued(1, noon_and(60))])
        .when(revoke())
        .then_expect_events(vec![revoked.clone()]);
    subscribers()
        .given(vec![issued(1, noon_and(60)), revoked])
        .when(revoke())
        .then_expect_error(SubscriberError::NotFound(id(1)));
}

#[test]
fn however_many_are_issued_the_state_stays_bounded() {
    let mut state = Subscribers::default();
    for n in 0..100 {
        state.fold(issued(n, noon_and(u64::try_from(n).unwrap())));
    }
    assert_eq!(state.live.len(), MAX_LIVE);
    assert!(state.live.contains_key(&id(99)));
}
