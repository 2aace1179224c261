//! The rules of an organisation, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::text::Code;

fn organisation() -> TestFramework<Organisation> {
    TestFramework::with(())
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn created() -> OrganisationEvent {
    OrganisationEvent::OrganisationCreated {
        kind: OrganisationKind::Carrier,
        name: name("Aurum Re"),
        home_tenant: "01933b5e-0000-7000-8000-000000000001".parse().unwrap(),
    }
}

fn create(home_tenant: TenantId) -> OrganisationCommand {
    OrganisationCommand::Create {
        kind: OrganisationKind::Carrier,
        name: name("Aurum Re"),
        home_tenant,
    }
}

const AUDIT: Code = Code::literal("audit");

#[test]
fn an_organisation_is_created_once() {
    let home = "01933b5e-0000-7000-8000-000000000001".parse().unwrap();
    organisation()
        .given_no_previous_events()
        .when(create(home))
        .then_expect_events(vec![created()]);
    organisation()
        .given(vec![created()])
        .when(create(home))
        .then_expect_error(OrganisationError::AlreadyExists);
}

#[test]
fn the_platforms_log_is_no_ones_home() {
    organisation()
        .given_no_previous_events()
        .when(create(TenantId::PLATFORM))
        .then_expect_error(OrganisationError::PlatformTenant);
}

#[test]
fn an_organisation_that_does_not_exist_takes_no_command() {
    for command in [
        OrganisationCommand::Rename { name: name("X") },
        OrganisationCommand::Suspend { reason: AUDIT },
        OrganisationCommand::Resume,
    ] {
        organisation()
            .given_no_previous_events()
            .when(command)
            .then_expect_error(OrganisationError::NotFound);
    }
}

#[test]
fn a_rename_to_the_same_name_leaves_no_event() {
    organisation()
        .given(vec![created()])
        .when(OrganisationCommand::Rename {
            name: name("Aurum Re"),
        })
        .then_expect_error(OrganisationError::Unchanged);
    organisation()
        .given(vec![created()])
        .when(OrganisationCommand::Rename { name: name("Aurum") })
        .then_expect_events(vec![OrganisationEvent::OrganisationRenamed {
            name: name("Aurum"),
        }]);
}

#[test]
fn suspension_and_resumption_alternate() {
    let suspended = OrganisationEvent::OrganisationSuspended { reason: AUDIT };
    organisation()
        .given(vec![created()])
        .when(OrganisationCommand::Resume)
        .then_expect_error(OrganisationError::NotSuspended);
    organisation()
        .given(vec![created(), suspended.clone()])
        .when(OrganisationCommand::Suspend { reason: AUDIT })
        .then_expect_error(OrganisationError::AlreadySuspended);
    organisation()
        .given(vec![created(), suspended])
        .when(OrganisationCommand::Resume)
        .then_expect_events(vec![OrganisationEvent::OrganisationResumed {}]);
}
