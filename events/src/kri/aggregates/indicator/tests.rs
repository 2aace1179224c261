//! The rules of a KRI, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::text::Code;

fn kri() -> TestFramework<Kri> {
    TestFramework::with(())
}

fn definition(name: &str) -> KriDefinition {
    serde_json::from_value(serde_json::json!({
        "name": name,
        "unit": "share",
        "bands": { "direction": "higher_is_worse", "upper": { "amber": "0.05", "red": "0.1" } },
        "schedule": { "frequency": "daily", "grace_s": 3600 },
    }))
    .unwrap()
}

const OBSOLETE: Code = Code::literal("obsolete");

#[test]
fn a_kri_is_defined_once() {
    let define = || KriCommand::Define(definition("Denied share"));
    let defined = definition("Denied share").defined();
    kri()
        .given_no_previous_events()
        .when(define())
        .then_expect_events(vec![defined.clone()]);
    kri()
        .given(vec![defined])
        .when(define())
        .then_expect_error(KriError::AlreadyExists);
}

#[test]
fn a_change_changes_something() {
    let defined = definition("Denied share").defined();
    kri()
        .given(vec![defined.clone()])
        .when(KriCommand::Change(definition("Denials")))
        .then_expect_events(vec![definition("Denials").changed()]);
    kri()
        .given(vec![defined])
        .when(KriCommand::Change(definition("Denied share")))
        .then_expect_error(KriError::Unchanged);
}

#[test]
fn a_retired_kri_stays_retired() {
    let retired = KriEvent::KriRetired { reason: OBSOLETE };
    let retire = || KriCommand::Retire { reason: OBSOLETE };
    let defined = definition("x").defined();
    kri()
        .given(vec![defined.clone()])
        .when(retire())
        .then_expect_events(vec![retired.clone()]);
    for command in [retire(), KriCommand::Change(definition("y"))] {
        kri()
            .given(vec![defined.clone(), retired.clone()])
            .when(command)
            .then_expect_error(KriError::Retired);
    }
}

#[test]
fn what_was_never_defined_takes_no_command() {
    for command in [
        KriCommand::Change(definition("x")),
        KriCommand::Retire { reason: OBSOLETE },
    ] {
        kri()
            .given_no_previous_events()
            .when(command)
            .then_expect_error(KriError::NotFound);
    }
}

#[test]
fn only_a_kri_in_use_has_a_definition_to_measure_by() {
    let mut state = Kri::default();
    assert_eq!(state.in_use(), None);
    state.fold(definition("x").defined());
    state.fold(definition("y").changed());
    assert_eq!(state.in_use(), Some(&definition("y")));
    state.fold(KriEvent::KriRetired { reason: OBSOLETE });
    assert_eq!(state.in_use(), None);
}
