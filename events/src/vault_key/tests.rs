//! The rules of an organisation's key, as given, when, then.

use cqrs_es::test::TestFramework;

use super::*;

fn rotate(number: u32) -> VaultKeyCommand {
    VaultKeyCommand::Rotate { number }
}

fn rotated(number: u32) -> VaultKeyEvent {
    VaultKeyEvent::VaultKeyRotated { number }
}

#[test]
fn each_key_is_later_than_the_one_before_and_the_first_is_no_event() {
    let key = || TestFramework::<VaultKey>::with(());
    key()
        .given_no_previous_events()
        .when(rotate(1))
        .then_expect_error(VaultKeyError::NotLater { newest: 1 });
    key()
        .given_no_previous_events()
        .when(rotate(2))
        .then_expect_events(vec![rotated(2)]);
    // A key that was made by a rotation which never came to its event is passed over.
    key()
        .given(vec![rotated(2)])
        .when(rotate(4))
        .then_expect_events(vec![rotated(4)]);
    key()
        .given(vec![rotated(2), rotated(4)])
        .when(rotate(4))
        .then_expect_error(VaultKeyError::NotLater { newest: 4 });
}
