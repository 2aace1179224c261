//! The rules of a tenant, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::money::Currency;
use crate::text::Code;

fn tenant() -> TestFramework<Tenant> {
    TestFramework::with(())
}

fn organisation(n: u128) -> OrganisationId {
    OrganisationId(uuid::Uuid::from_u128(n))
}

fn name() -> Name {
    "Claims".parse().unwrap()
}

fn share(text: &str) -> Share {
    text.parse().unwrap()
}

fn created() -> TenantEvent {
    TenantEvent::TenantCreated {
        organisation: organisation(1),
        name: name(),
        home: false,
    }
}

fn carried(carrier: u128, text: &str) -> TenantEvent {
    TenantEvent::TenantCarried {
        carrier: organisation(carrier),
        share: share(text),
    }
}

fn carry(carrier: u128, text: &str) -> TenantCommand {
    TenantCommand::Carry {
        carrier: organisation(carrier),
        share: share(text),
    }
}

fn exposure(micros: i64) -> Money {
    Money {
        micros: Micros(micros),
        currency: Currency::EUR,
    }
}

#[test]
fn a_tenant_is_created_once() {
    let create = TenantCommand::Create {
        organisation: organisation(1),
        name: name(),
        home: false,
    };
    tenant()
        .given_no_previous_events()
        .when(create.clone())
        .then_expect_events(vec![created()]);
    tenant()
        .given(vec![created()])
        .when(create)
        .then_expect_error(TenantError::AlreadyExists);
}

#[test]
fn a_tenant_that_does_not_exist_takes_no_command() {
    for command in [
        TenantCommand::Rename { name: name() },
        resume(Level::Platform),
        carry(2, "0.5"),
        TenantCommand::SetExposure { amount: exposure(1) },
    ] {
        tenant()
            .given_no_previous_events()
            .when(command)
            .then_expect_error(TenantError::NotFound);
    }
}

#[test]
fn shares_add_up_to_the_whole_at_most() {
    let given = || tenant().given(vec![created(), carried(2, "0.6"), carried(3, "0.3")]);
    given()
        .when(carry(4, "0.1"))
        .then_expect_events(vec![carried(4, "0.1")]);
    given()
        .when(carry(4, "0.100001"))
        .then_expect_error(TenantError::OverCarried {
            left: Decimal::new(1, 1),
        });
}

#[test]
fn a_carriers_new_share_takes_the_place_of_its_old_one() {
    let given = || tenant().given(vec![created(), carried(2, "0.6"), carried(3, "0.3")]);
    given()
        .when(carry(2, "0.7"))
        .then_expect_events(vec![carried(2, "0.7")]);
    given()
        .when(carry(2, "0.60"))
        .then_expect_error(TenantError::Unchanged);
}

#[test]
fn a_released_carrier_leaves_its_share_to_others() {
    let released = TenantEvent::TenantReleased {
        carrier: organisation(2),
    };
    let release = || TenantCommand::Release {
        carrier: organisation(2),
    };
    tenant()
        .given(vec![created(), carried(2, "1")])
        .when(release())
        .then_expect_events(vec![released.clone()]);
    tenant()
        .given(vec![created(), carried(2, "1"), released.clone()])
        .when(carry(3, "1"))
        .then_expect_events(vec![carried(3, "1")]);
    tenant()
        .given(vec![created(), carried(2, "1"), released])
        .when(release())
        .then_expect_error(TenantError::NotCarried);
}

#[test]
fn a_tenants_own_organisation_retains_and_does_not_carry() {
    tenant()
        .given(vec![created()])
        .when(carry(1, "0.5"))
        .then_expect_error(TenantError::CarriesItself);
}

#[test]
fn the_33rd_carrier_is_one_too_many() {
    let full = (0..32).map(|n| carried(100 + n, "0.01"));
    let given: Vec<_> = std::iter::once(created()).chain(full).collect();
    tenant()
        .given(given.clone())
        .when(carry(2, "0.01"))
        .then_expect_error(TenantError::TooManyCarriers);
    tenant()
        .given(given)
        .when(carry(100, "0.02"))
        .then_expect_events(vec![carried(100, "0.02")]);
}

#[test]
fn an_exposure_is_not_negative() {
    let set = |micros| TenantCommand::SetExposure {
        amount: exposure(micros),
    };
    tenant()
        .given(vec![created()])
        .when(set(-1))
        .then_expect_error(TenantError::NegativeExposure);
    tenant()
        .given(vec![created()])
        .when(set(0))
        .then_expect_events(vec![TenantEvent::ExposureSet { amount: exposure(0) }]);
}

#[test]
fn suspension_and_resumption_alternate() {
    let reason = Code::literal("fraud");
    let suspended = TenantEvent::TenantSuspended {
        reason: reason.clone(),
        level: Level::Organisation,
    };
    let suspend = || TenantCommand::Suspend {
        reason: reason.clone(),
        level: Level::Organisation,
    };
    tenant()
        .given(vec![created()])
        .when(suspend())
        .then_expect_events(vec![suspended.clone()]);
    tenant()
        .given(vec![created(), suspended.clone()])
        .when(suspend())
        .then_expect_error(TenantError::AlreadySuspended);
    tenant()
        .given(vec![created(), suspended, TenantEvent::TenantResumed {}])
        .when(resume(Level::Platform))
        .then_expect_error(TenantError::NotSuspended);
}

fn resume(level: Level) -> TenantCommand {
    TenantCommand::Resume { level }
}

#[test]
fn what_the_platform_stopped_only_the_platform_lets_go_on() {
    let by = |level| TenantEvent::TenantSuspended { reason: ENDED, level };
    let suspend = |level| TenantCommand::Suspend { reason: ENDED, level };
    let given = |level| tenant().given(vec![created(), by(level)]);
    given(Level::Platform)
        .when(resume(Level::Organisation))
        .then_expect_error(TenantError::SuspendedAbove);
    for level in [Level::Platform, Level::Organisation] {
        given(Level::Organisation)
            .when(resume(level))
            .then_expect_events(vec![TenantEvent::TenantResumed {}]);
    }
    // What an organisation stopped for itself is no shelter from the platform.
    given(Level::Organisation)
        .when(suspend(Level::Platform))
        .then_expect_events(vec![by(Level::Platform)]);
    given(Level::Platform)
        .when(suspend(Level::Organisation))
        .then_expect_error(TenantError::AlreadySuspended);
}

#[test]
fn a_suspension_that_does_not_say_from_where_is_the_platforms() {
    let lifted = (event::SUSPENDED.upcasts[0].lift)(serde_json::json!({"reason": "fraud"}));
    assert_eq!(
        lifted,
        serde_json::json!({"reason": "fraud", "level": "platform"})
    );
}

proptest! {
    #[test]
    fn no_sequence_of_commands_carries_more_than_the_whole(commands in prop::collection::vec((2u128..6, 1i64..=1_000_000, any::<bool>()), 0..40)) {
        let mut tenant = Tenant::default();
        tenant.fold(created());
        for (carrier, millionths, release) in commands {
            let carrier = organisation(carrier);
            let command = if release {
                TenantCommand::Release { carrier }
            } else {
                TenantCommand::Carry { carrier, share: Decimal::new(millionths, 6).try_into().unwrap() }
            };
            if let Ok(event) = tenant.decide(command) {
                tenant.fold(event);
            }
            let details = tenant.details.as_ref().unwrap();
            prop_assert!(Share::left_by(details.carriers.values().copied()) >= Decimal::ZERO);
        }
    }
}

const ENDED: Code = Code::literal("contract_ended");

fn at(text: &str) -> Timestamp {
    format!("{text}T12:00:00.000000Z").parse().unwrap()
}

fn suspended() -> TenantEvent {
    TenantEvent::TenantSuspended {
        reason: ENDED,
        level: Level::Platform,
    }
}

fn close(retain_until: &str, now: &str) -> TenantCommand {
    TenantCommand::Close {
        reason: ENDED,
        retain_until: at(retain_until),
        now: at(now),
    }
}

fn closed(retain_until: &str) -> TenantEvent {
    TenantEvent::TenantClosed {
        reason: ENDED,
        retain_until: at(retain_until),
    }
}

fn erase(now: &str) -> TenantCommand {
    TenantCommand::Erase {
        secrets: 3,
        now: at(now),
    }
}

#[test]
fn a_tenant_is_closed_once_it_is_suspended_until_a_date_that_is_one() {
    let given = || tenant().given(vec![created(), suspended()]);
    given()
        .when(close("2036-11-20", "2026-11-20"))
        .then_expect_events(vec![closed("2036-11-20")]);
    tenant()
        .given(vec![created()])
        .when(close("2036-11-20", "2026-11-20"))
        .then_expect_error(TenantError::SuspendFirst);
    for until in ["2026-11-19", "2056-11-20"] {
        given()
            .when(close(until, "2026-11-20"))
            .then_expect_error(TenantError::Retention);
    }
    let home = TenantEvent::TenantCreated {
        organisation: organisation(1),
        name: name(),
        home: true,
    };
    tenant()
        .given(vec![home, suspended()])
        .when(close("2036-11-20", "2026-11-20"))
        .then_expect_error(TenantError::HomeTenant);
}

#[test]
fn a_closed_tenant_takes_nothing_but_its_erasure() {
    for command in [
        TenantCommand::Rename { name: name() },
        resume(Level::Platform),
        TenantCommand::Suspend {
            reason: ENDED,
            level: Level::Platform,
        },
        carry(2, "0.5"),
        TenantCommand::SetExposure { amount: exposure(1) },
        close("2036-11-20", "2026-11-20"),
    ] {
        tenant()
            .given(vec![created(), suspended(), closed("2036-11-20")])
            .when(command)
            .then_expect_error(TenantError::Closed);
    }
}

#[test]
fn a_tenant_is_erased_once_and_not_before_its_date() {
    let given = || tenant().given(vec![created(), suspended(), closed("2036-11-20")]);
    let erased = TenantEvent::TenantErased { secrets: 3 };
    tenant()
        .given(vec![created(), suspended()])
        .when(erase("2036-11-20"))
        .then_expect_error(TenantError::NotClosed);
    given()
        .when(erase("2036-11-19"))
        .then_expect_error(TenantError::Retained(at("2036-11-20")));
    given()
        .when(erase("2036-11-20"))
        .then_expect_events(vec![erased.clone()]);
    given()
        .and(vec![erased])
        .when(erase("2036-11-21"))
        .then_expect_error(TenantError::AlreadyErased);
}
