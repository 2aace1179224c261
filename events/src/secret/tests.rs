//! The rules of a secret, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::text::Code;

const WHY: Code = Code::literal("test");

fn secret() -> TestFramework<Secret> {
    TestFramework::with(())
}

fn organisation() -> OrganisationId {
    "01933b5e-0000-7000-8000-000000000001".parse().unwrap()
}

fn stored() -> SecretEvent {
    SecretEvent::SecretStored {
        version: 1,
        purpose: SecretPurpose::ProviderKey,
        organisation: organisation(),
        sealed: ContentDigest::of(b"1"),
    }
}

fn store() -> SecretCommand {
    SecretCommand::Store {
        purpose: SecretPurpose::ProviderKey,
        organisation: organisation(),
        sealed: ContentDigest::of(b"1"),
    }
}

fn rotate(version: u32) -> SecretCommand {
    let sealed = ContentDigest::of(b"2");
    SecretCommand::Rotate { version, sealed }
}

fn rotated(version: u32) -> SecretEvent {
    let sealed = ContentDigest::of(b"2");
    SecretEvent::SecretRotated { version, sealed }
}

fn retired() -> SecretEvent {
    SecretEvent::SecretRetired { reason: WHY }
}

fn open(version: u32) -> SecretCommand {
    SecretCommand::Open { version, why: WHY }
}

#[test]
fn a_secret_is_stored_once() {
    secret()
        .given_no_previous_events()
        .when(store())
        .then_expect_events(vec![stored()]);
    secret()
        .given(vec![stored()])
        .when(store())
        .then_expect_error(SecretError::AlreadyExists);
    secret()
        .given(vec![stored(), retired()])
        .when(store())
        .then_expect_error(SecretError::AlreadyExists);
}

#[test]
fn versions_follow_one_another_without_a_gap() {
    let given = || secret().given(vec![stored(), rotated(2)]);
    given().when(rotate(3)).then_expect_events(vec![rotated(3)]);
    for version in [0, 1, 2, 4, u32::MAX] {
        given()
            .when(rotate(version))
            .then_expect_error(SecretError::NotTheNext { newest: 2 });
    }
    secret()
        .given(vec![stored(), rotated(MAX_VERSIONS)])
        .when(rotate(MAX_VERSIONS + 1))
        .then_expect_error(SecretError::TooManyVersions);
}

#[test]
fn only_the_newest_version_is_opened() {
    let given = || secret().given(vec![stored(), rotated(2)]);
    given()
        .when(open(2))
        .then_expect_events(vec![SecretEvent::SecretOpened { version: 2, why: WHY }]);
    given()
        .when(open(1))
        .then_expect_error(SecretError::NotTheNewest { newest: 2 });
}

#[test]
fn a_retired_secret_takes_no_command() {
    let retire = SecretCommand::Retire { reason: WHY };
    for command in [rotate(2), open(1), retire] {
        secret()
            .given(vec![stored(), retired()])
            .when(command)
            .then_expect_error(SecretError::Retired);
    }
}

#[test]
fn what_was_never_stored_takes_no_command() {
    for command in [rotate(1), open(1), SecretCommand::Retire { reason: WHY }] {
        secret()
            .given_no_previous_events()
            .when(command)
            .then_expect_error(SecretError::NotFound);
    }
}

#[test]
fn a_name_is_fit_for_a_path() {
    for good in ["a", "openai", "9.lives_and-more", &"a".repeat(64)] {
        good.parse::<SecretName>().unwrap();
    }
    for bad in ["", ".", "..", "-a", "_a", "A", "a/b", "a b", "ä", &"a".repeat(65)] {
        assert!(bad.parse::<SecretName>().is_err(), "{bad}");
    }
}
