//! The rules of the administration, as given, when, then.

use cqrs_es::test::TestFramework;
use uuid::Uuid;

use super::*;
use crate::text::Code;

const WHY: Code = Code::literal("lockout");

fn administration() -> TestFramework<Administration> {
    TestFramework::with(())
}

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

fn added(number: u128) -> AdministrationEvent {
    AdministrationEvent::AdministratorAdded { user: user(number) }
}

fn removed(number: u128) -> AdministrationEvent {
    AdministrationEvent::AdministratorRemoved { user: user(number) }
}

fn closed(number: u128) -> AdministrationEvent {
    AdministrationEvent::BootstrapClosed {
        administrator: user(number),
    }
}

fn remove(number: u128) -> AdministrationCommand {
    AdministrationCommand::Remove { user: user(number) }
}

fn close(number: u128, joins: bool) -> AdministrationCommand {
    AdministrationCommand::Close {
        user: user(number),
        joins,
    }
}

#[test]
fn administrators_come_and_go_while_the_bootstrap_token_is_open() {
    administration()
        .given_no_previous_events()
        .when(AdministrationCommand::Add { user: user(1) })
        .then_expect_events(vec![added(1)]);
    administration()
        .given(vec![added(1)])
        .when(AdministrationCommand::Add { user: user(1) })
        .then_expect_error(AdministrationError::AlreadyThere(user(1)));
    administration()
        .given(vec![added(1)])
        .when(remove(1))
        .then_expect_events(vec![removed(1)]);
    administration()
        .given(vec![added(1)])
        .when(remove(2))
        .then_expect_error(AdministrationError::NotThere(user(2)));
}

#[test]
fn once_it_is_closed_the_last_administrator_stays() {
    administration()
        .given(vec![closed(1)])
        .when(remove(1))
        .then_expect_error(AdministrationError::LastAdministrator);
    administration()
        .given(vec![closed(1), added(2)])
        .when(remove(1))
        .then_expect_events(vec![removed(1)]);
    administration()
        .given(vec![closed(1), added(2), removed(1)])
        .when(remove(2))
        .then_expect_error(AdministrationError::LastAdministrator);
}

#[test]
fn it_is_closed_by_one_who_administers_or_comes_to_by_it() {
    administration()
        .given_no_previous_events()
        .when(close(1, true))
        .then_expect_events(vec![closed(1)]);
    administration()
        .given(vec![added(1)])
        .when(close(1, false))
        .then_expect_events(vec![closed(1)]);
    administration()
        .given(vec![added(1)])
        .when(close(2, false))
        .then_expect_error(AdministrationError::NotThere(user(2)));
    administration()
        .given(vec![closed(1)])
        .when(close(2, true))
        .then_expect_error(AdministrationError::AlreadyClosed);
}

#[test]
fn it_is_reopened_when_it_is_closed_and_closed_again() {
    let reopen = AdministrationCommand::Reopen { reason: WHY };
    let reopened = AdministrationEvent::BootstrapReopened { reason: WHY };
    administration()
        .given_no_previous_events()
        .when(reopen.clone())
        .then_expect_error(AdministrationError::NotClosed);
    administration()
        .given(vec![closed(1)])
        .when(reopen)
        .then_expect_events(vec![reopened.clone()]);
    administration()
        .given(vec![closed(1), reopened])
        .when(close(1, false))
        .then_expect_events(vec![closed(1)]);
}

#[test]
fn there_are_so_many_and_no_more() {
    let all: Vec<_> = (1..=MAX_ADMINISTRATORS as u128).map(added).collect();
    for command in [AdministrationCommand::Add { user: user(999) }, close(999, true)] {
        administration()
            .given(all.clone())
            .when(command)
            .then_expect_error(AdministrationError::TooMany);
    }
}
