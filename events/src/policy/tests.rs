//! The rules of a policy, as given, when, then.

use cqrs_es::test::TestFramework;

use super::*;
use crate::ids::DocumentDigest;

fn policy() -> TestFramework<Policy> {
    TestFramework::with(())
}

fn source(n: u8) -> DocumentRef {
    DocumentRef {
        digest: DocumentDigest([n; 32]),
        bytes: 900,
    }
}

fn published(version: u32) -> PolicyEvent {
    let n = u8::try_from(version % 256).unwrap_or(0);
    PolicyEvent::PolicyPublished {
        version,
        source: source(n),
        tests: 4,
    }
}

fn publish(n: u8) -> PolicyCommand {
    PolicyCommand::Publish {
        source: source(n),
        tests: 4,
    }
}

fn activated(version: u32) -> PolicyEvent {
    PolicyEvent::PolicyActivated { version }
}

fn activate(version: u32) -> PolicyCommand {
    PolicyCommand::Activate { version }
}

fn roll_back(to: Option<u32>) -> PolicyCommand {
    PolicyCommand::RollBack { to }
}

fn rolled_back(from: u32, to: u32) -> PolicyEvent {
    PolicyEvent::PolicyRolledBack { from, to }
}

#[test]
fn versions_count_from_one() {
    policy()
        .given_no_previous_events()
        .when(publish(1))
        .then_expect_events(vec![published(1)]);
    policy()
        .given(vec![published(1)])
        .when(publish(2))
        .then_expect_events(vec![published(2)]);
}

#[test]
fn the_newest_text_is_not_published_twice() {
    policy()
        .given(vec![published(1)])
        .when(publish(1))
        .then_expect_error(PolicyError::Unchanged { version: 1 });
    let back_to_an_older_text = PolicyEvent::PolicyPublished {
        version: 3,
        source: source(1),
        tests: 4,
    };
    policy()
        .given(vec![published(1), published(2)])
        .when(publish(1))
        .then_expect_events(vec![back_to_an_older_text]);
}

#[test]
fn nothing_is_activated_or_rolled_back_before_the_first_version() {
    for command in [activate(1), roll_back(None), roll_back(Some(1))] {
        policy()
            .given_no_previous_events()
            .when(command)
            .then_expect_error(PolicyError::NotFound);
    }
}

#[test]
fn a_published_version_is_activated_once() {
    policy()
        .given(vec![published(1)])
        .when(activate(1))
        .then_expect_events(vec![activated(1)]);
    policy()
        .given(vec![published(1), activated(1)])
        .when(activate(1))
        .then_expect_error(PolicyError::AlreadyActive { version: 1 });
    for version in [0, 2] {
        policy()
            .given(vec![published(1)])
            .when(activate(version))
            .then_expect_error(PolicyError::NoSuchVersion { version, newest: 1 });
    }
}

#[test]
fn a_rollback_goes_to_the_version_before_unless_told_otherwise() {
    let given = || {
        let history = [
            published(1),
            activated(1),
            published(2),
            activated(2),
            published(3),
            activated(3),
        ];
        policy().given(history.to_vec())
    };
    given()
        .when(roll_back(None))
        .then_expect_events(vec![rolled_back(3, 2)]);
    given()
        .when(roll_back(Some(1)))
        .then_expect_events(vec![rolled_back(3, 1)]);
    given()
        .when(roll_back(Some(3)))
        .then_expect_error(PolicyError::AlreadyActive { version: 3 });
}

#[test]
fn a_rollback_of_a_rollback_returns() {
    policy()
        .given(vec![
            published(1),
            activated(1),
            published(2),
            activated(2),
            rolled_back(2, 1),
        ])
        .when(roll_back(None))
        .then_expect_events(vec![rolled_back(1, 2)]);
}

#[test]
fn there_is_no_going_back_to_what_never_was() {
    policy()
        .given(vec![published(1), activated(1), published(2)])
        .when(roll_back(Some(2)))
        .then_expect_error(PolicyError::NeverActive { version: 2 });
    policy()
        .given(vec![published(1), activated(1)])
        .when(roll_back(None))
        .then_expect_error(PolicyError::NothingBefore);
    policy()
        .given(vec![published(1)])
        .when(roll_back(None))
        .then_expect_error(PolicyError::NothingActive);
}

#[test]
fn the_10001st_version_is_one_too_many() {
    policy()
        .given(vec![published(MAX_VERSIONS)])
        .when(publish(1))
        .then_expect_error(PolicyError::TooManyVersions);
}
