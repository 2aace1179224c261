//! The rules of the switch, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;

const EDGE_DOWN: Code = Code::literal("edge_down");

fn switch() -> TestFramework<Origin> {
    TestFramework::with(())
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn open(length_s: u64) -> OriginCommand {
    OriginCommand::Open {
        length: Duration::from_secs(length_s),
        reason: EDGE_DOWN,
        now: time("2026-11-20T12:00:00.000000Z"),
    }
}

fn close(now: &str) -> OriginCommand {
    OriginCommand::Close {
        reason: EDGE_DOWN,
        now: time(now),
    }
}

fn suspended(until: &str) -> OriginEvent {
    OriginEvent::OriginProofSuspended {
        until: time(until),
        reason: EDGE_DOWN,
    }
}

#[test]
fn it_opens_for_an_hour_at_the_most_and_says_until_when() {
    for length_s in [0, 3_601] {
        switch()
            .given_no_previous_events()
            .when(open(length_s))
            .then_expect_error(OriginError::TooLong);
    }
    switch()
        .given_no_previous_events()
        .when(open(3_600))
        .then_expect_events(vec![suspended("2026-11-20T13:00:00.000000Z")]);
    // Opened again it is open until the later command's end, sooner or later.
    switch()
        .given(vec![suspended("2026-11-20T12:30:00.000000Z")])
        .when(open(60))
        .then_expect_events(vec![suspended("2026-11-20T12:01:00.000000Z")]);
}

#[test]
fn it_is_closed_while_it_is_open_and_has_ended_by_itself_after() {
    let restored = OriginEvent::OriginProofRestored { reason: EDGE_DOWN };
    let given = || switch().given(vec![suspended("2026-11-20T12:30:00.000000Z")]);
    given()
        .when(close("2026-11-20T12:29:59.999999Z"))
        .then_expect_events(vec![restored.clone()]);
    given()
        .when(close("2026-11-20T12:30:00.000000Z"))
        .then_expect_error(OriginError::NotOpen);
    switch()
        .given(vec![suspended("2026-11-20T12:30:00.000000Z"), restored])
        .when(close("2026-11-20T12:10:00.000000Z"))
        .then_expect_error(OriginError::NotOpen);
}
