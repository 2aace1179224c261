//! The rules of the keyring, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::signature::{KeyPair, PublicKey, Signer};

fn keyring() -> TestFramework<SigningKeys> {
    TestFramework::with(())
}

fn key(seed: u8) -> PublicKey {
    KeyPair::from_seed(&[seed; 32]).public_key()
}

fn introduced(seed: u8, previous: Option<u8>) -> KeyringEvent {
    KeyringEvent::SigningKeyIntroduced {
        key_id: key(seed).id(),
        public_key: key(seed),
        fingerprint: key(seed).fingerprint(),
        previous_key_id: previous.map(|seed| key(seed).id()),
    }
}

#[test]
fn the_first_key_has_no_predecessor() {
    keyring()
        .given_no_previous_events()
        .when(KeyringCommand::Introduce { public_key: key(1) })
        .then_expect_events(vec![introduced(1, None)]);
    keyring()
        .given_no_previous_events()
        .when(KeyringCommand::Rotate { public_key: key(1) })
        .then_expect_error(KeyringError::NotFound);
}

#[test]
fn each_later_key_names_the_one_before() {
    keyring()
        .given(vec![introduced(1, None), introduced(2, Some(1))])
        .when(KeyringCommand::Rotate { public_key: key(3) })
        .then_expect_events(vec![introduced(3, Some(2))]);
}

#[test]
fn two_fresh_processes_introduce_one_first_key() {
    keyring()
        .given(vec![introduced(1, None)])
        .when(KeyringCommand::Introduce { public_key: key(2) })
        .then_expect_error(KeyringError::AlreadyIntroduced);
}

#[test]
fn a_key_does_not_come_back() {
    keyring()
        .given(vec![introduced(1, None), introduced(2, Some(1))])
        .when(KeyringCommand::Rotate { public_key: key(1) })
        .then_expect_error(KeyringError::KeyIdTaken(key(1).id()));
}

#[test]
fn the_verifier_reads_what_the_aggregate_writes() {
    let event = introduced(2, Some(1));
    let payload = crate::schema::encode(&event).unwrap();
    let read: SigningKeyIntroduced = serde_json::from_str(payload.get()).unwrap();
    assert_eq!(read, SigningKeyIntroduced::of(&key(2), Some(key(1).id())));
    assert_eq!(KeyringEvent::from(read), event);
    assert_eq!(
        cqrs_es::DomainEvent::event_type(&event),
        crate::keyring::SIGNING_KEY_INTRODUCED
    );
    assert_eq!(
        cqrs_es::DomainEvent::event_version(&event),
        crate::keyring::SIGNING_KEY_INTRODUCED_VERSION
    );
}
