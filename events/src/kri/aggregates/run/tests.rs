//! The rules of a run, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ids::{PayloadDigest, Position, TenantId};
use crate::kri::aggregates::{MAX_POSITIONS, PositionVector};
use crate::kri::bands::Band;

fn run() -> TestFramework<KriRun> {
    TestFramework::with(())
}

fn at(minute: u32) -> Timestamp {
    format!("2026-11-20T12:{minute:02}:00.000000Z").parse().unwrap()
}

fn kri() -> KriId {
    "denied-share".parse().unwrap()
}

fn source() -> KriSourceId {
    KriSourceId(uuid::Uuid::from_u128(9))
}

fn requested(measured_at: Option<Timestamp>) -> KriRunEvent {
    KriRunEvent::KriRunRequested {
        kri: kri(),
        source: source(),
        measured_at,
    }
}

fn request(measured_at: Option<Timestamp>) -> KriRunCommand {
    KriRunCommand::Request {
        kri: kri(),
        source: source(),
        measured_at,
        now: at(0),
    }
}

/// Started in this minute, for five minutes.
fn started(attempt: u32, minute: u32) -> KriRunEvent {
    KriRunEvent::KriRunStarted {
        runner: RUNNER,
        attempt,
        lease_until: at(minute + 5),
    }
}

fn start(minute: u32) -> KriRunCommand {
    KriRunCommand::Start {
        runner: RUNNER,
        lease_ms: 300_000,
        now: at(minute),
    }
}

fn measured(attempt: u32) -> Measured {
    Measured {
        attempt,
        value: "0.07".parse().unwrap(),
        measured_at: at(1),
        bands: serde_json::from_value(
            json!({ "direction": "higher_is_worse", "upper": { "amber": "0.05", "red": "0.1" } }),
        )
        .unwrap(),
        schedule: serde_json::from_value(json!({ "frequency": "hourly" })).unwrap(),
        payload_digest: PayloadDigest([5; 32]),
        payload_bytes: 42,
        positions: None,
    }
}

fn complete(attempt: u32) -> KriRunCommand {
    KriRunCommand::Complete(measured(attempt).into())
}

fn completed(attempt: u32, measured_at: Timestamp, fresh_until: &str) -> KriRunEvent {
    let measured = measured(attempt);
    KriRunEvent::KriRunCompleted {
        kri: kri(),
        source: source(),
        attempt,
        value: measured.value,
        status: Band::Amber,
        bands: measured.bands,
        measured_at,
        fresh_until: fresh_until.parse().unwrap(),
        payload_digest: measured.payload_digest,
        payload_bytes: 42,
        positions: None,
    }
}

fn failed(attempt: u32, code: Code) -> KriRunEvent {
    KriRunEvent::KriRunFailed {
        kri: kri(),
        source: source(),
        attempt,
        code,
    }
}

const RUNNER: Code = Code::literal("runner-1");
const TIMED_OUT: Code = Code::literal("timed_out");
const FRESH: &str = "2026-11-20T13:01:00.000000Z";

#[test]
fn a_run_is_requested_once() {
    run()
        .given_no_previous_events()
        .when(request(None))
        .then_expect_events(vec![requested(None)]);
    run()
        .given(vec![requested(None)])
        .when(request(None))
        .then_expect_error(KriRunError::AlreadyExists);
}

#[test]
fn history_is_measured_in_the_past() {
    run()
        .given_no_previous_events()
        .when(request(Some(at(0))))
        .then_expect_events(vec![requested(Some(at(0)))]);
    run()
        .given_no_previous_events()
        .when(request(Some(at(1))))
        .then_expect_error(KriRunError::MeasuredInTheFuture);
}

#[test]
fn of_many_runners_one_holds_it() {
    run()
        .given(vec![requested(None)])
        .when(start(0))
        .then_expect_events(vec![started(1, 0)]);
    run()
        .given(vec![requested(None), started(1, 0)])
        .when(start(4))
        .then_expect_error(KriRunError::LeaseHeld { until: at(5) });
}

#[test]
fn a_lost_lease_is_another_runners_chance() {
    run()
        .given(vec![requested(None), started(1, 0)])
        .when(start(5))
        .then_expect_events(vec![started(2, 5)]);
}

#[test]
fn the_third_lost_lease_ends_the_run() {
    let given = || {
        run().given(vec![
            requested(None),
            started(1, 0),
            started(2, 10),
            started(3, 20),
        ])
    };
    given()
        .when(start(24))
        .then_expect_error(KriRunError::LeaseHeld { until: at(25) });
    given()
        .when(start(25))
        .then_expect_events(vec![failed(3, LEASE_EXPIRED)]);
}

#[test]
fn a_lease_has_a_limit() {
    for lease_ms in [0, MAX_LEASE_MS + 1] {
        run()
            .given(vec![requested(None)])
            .when(KriRunCommand::Start {
                runner: RUNNER,
                lease_ms,
                now: at(0),
            })
            .then_expect_error(KriRunError::LeaseOutOfRange { lease_ms });
    }
}

#[test]
fn a_value_gets_its_colour_and_freshness_for_good() {
    run()
        .given(vec![requested(None), started(1, 0)])
        .when(complete(1))
        .then_expect_events(vec![completed(1, at(1), FRESH)]);
}

#[test]
fn the_requests_time_goes_before_the_runs() {
    let then: Timestamp = "2026-03-01T00:00:00.000000Z".parse().unwrap();
    run()
        .given(vec![requested(Some(then)), started(1, 0)])
        .when(complete(1))
        .then_expect_events(vec![completed(1, then, "2026-03-01T01:00:00.000000Z")]);
}

#[test]
fn only_the_newest_attempt_counts() {
    let given = || run().given(vec![requested(None), started(1, 0), started(2, 10)]);
    let superseded = KriRunError::Superseded {
        attempt: 1,
        newest: 2,
    };
    given().when(complete(1)).then_expect_error(superseded);
    given()
        .when(KriRunCommand::Fail {
            attempt: 1,
            code: TIMED_OUT,
        })
        .then_expect_error(superseded);
    given()
        .when(complete(2))
        .then_expect_events(vec![completed(2, at(1), FRESH)]);
}

#[test]
fn a_run_ends_once() {
    for ended in [completed(1, at(1), FRESH), failed(1, TIMED_OUT)] {
        for command in [
            start(30),
            complete(1),
            KriRunCommand::Fail {
                attempt: 1,
                code: TIMED_OUT,
            },
        ] {
            run()
                .given(vec![requested(None), started(1, 0), ended.clone()])
                .when(command)
                .then_expect_error(KriRunError::AlreadyEnded);
        }
    }
}

#[test]
fn nothing_is_measured_before_the_start() {
    for attempt in [0, 1] {
        run()
            .given(vec![requested(None)])
            .when(complete(attempt))
            .then_expect_error(KriRunError::NotStarted);
    }
    run()
        .given_no_previous_events()
        .when(complete(1))
        .then_expect_error(KriRunError::NotFound);
    run()
        .given_no_previous_events()
        .when(start(0))
        .then_expect_error(KriRunError::NotFound);
}

#[test]
fn the_largest_completion_fits_an_envelope_with_room_to_spare() {
    let logs = (0..MAX_POSITIONS as u128).map(|n| (TenantId(uuid::Uuid::from_u128(n)), Position(u64::MAX)));
    let longest = format!("-0.{}", "1".repeat(27));
    let threshold = json!({ "amber": longest, "red": format!("{longest}1") });
    let largest = Measured {
        value: longest.parse().unwrap(),
        bands: serde_json::from_value(json!({ "direction": "lower_is_worse", "lower": threshold })).unwrap(),
        positions: Some(
            PositionVector::try_from(logs.collect::<std::collections::BTreeMap<_, _>>()).unwrap(),
        ),
        payload_bytes: u32::MAX,
        ..measured(1)
    };
    let run = OpenRun {
        kri: "k".repeat(64).parse().unwrap(),
        source: source(),
        measured_at: None,
        attempt: 1,
        lease_until: None,
    };
    let payload = crate::schema::encode(&run.complete(largest).unwrap()).unwrap();
    assert!(payload.get().len() < 8_192, "{}", payload.get().len());
}

proptest! {
    /// Whatever runners do and however late: one lease at a time, three attempts, one ending.
    #[test]
    fn no_order_of_commands_ends_a_run_twice_or_starts_it_a_fourth_time(
        steps in prop::collection::vec((0u8..3, 0u32..5, 1u32..4), 0..40),
    ) {
        let mut run = KriRun::default();
        run.fold(requested(None));
        let (mut minute, mut attempts, mut endings, mut held_until) = (0, 0, 0, None);
        for (command, pause, attempt) in steps {
            minute = (minute + pause).min(50);
            let command = match command {
                0 => start(minute),
                1 => complete(attempt),
                _ => KriRunCommand::Fail { attempt, code: TIMED_OUT },
            };
            let Ok(event) = run.decide(command) else { continue };
            match &event {
                KriRunEvent::KriRunStarted { lease_until, .. } => {
                    prop_assert!(held_until.is_none_or(|until| until <= at(minute)));
                    held_until = Some(*lease_until);
                    attempts += 1;
                }
                KriRunEvent::KriRunCompleted { .. } | KriRunEvent::KriRunFailed { .. } => endings += 1,
                KriRunEvent::KriRunRequested { .. } => prop_assert!(false, "requested twice"),
            }
            run.fold(event);
        }
        prop_assert!(attempts <= MAX_ATTEMPTS && endings <= 1);
    }
}
