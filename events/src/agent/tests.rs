//! The rules of an agent, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::text::{Code, ModelName};

fn agent() -> TestFramework<Agent> {
    TestFramework::with(())
}

fn card(purpose: &str) -> SpecCard {
    SpecCard {
        name: "Claims triage".parse().unwrap(),
        owner: "Claims operations".parse().unwrap(),
        purpose: purpose.parse().unwrap(),
        models: models(&["demo-small", "demo-large"]),
        tool_scopes: vec!["crm.contacts:read".parse().unwrap()].try_into().unwrap(),
        risk_tier: RiskTier::Limited,
    }
}

fn models(names: &[&str]) -> crate::bounded::Bounded<ModelName, MAX_MODELS> {
    names
        .iter()
        .map(|name| name.parse().unwrap())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

fn registered(purpose: &str) -> AgentEvent {
    let spec = card(purpose).document().unwrap().reference();
    let SpecCard {
        name,
        models,
        tool_scopes,
        risk_tier,
        ..
    } = card(purpose);
    AgentEvent::AgentRegistered {
        name,
        spec,
        models,
        tool_scopes,
        risk_tier,
    }
}

fn key(n: u128) -> ApiKeyId {
    ApiKeyId(uuid::Uuid::from_u128(n))
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-20T{text}.000000Z").parse().unwrap()
}

fn issue(n: u128, expires_at: Option<Timestamp>) -> AgentCommand {
    AgentCommand::IssueKey {
        key_id: key(n),
        hash: ApiKeyHash([7; 32]),
        expires_at,
        now: at("12:00:00"),
    }
}

fn issued(n: u128, expires_at: Option<Timestamp>) -> AgentEvent {
    AgentEvent::AgentKeyIssued {
        key_id: key(n),
        hash: ApiKeyHash([7; 32]),
        expires_at,
    }
}

const LEAKED: Code = Code::literal("leaked");

#[test]
fn an_agent_is_registered_once_with_its_cards_digest() {
    let register = || AgentCommand::Register {
        card: card("Sorts claims"),
    };
    agent()
        .given_no_previous_events()
        .when(register())
        .then_expect_events(vec![registered("Sorts claims")]);
    agent()
        .given(vec![registered("Sorts claims")])
        .when(register())
        .then_expect_error(AgentError::AlreadyExists);
}

#[test]
fn a_spec_card_is_this_document() {
    insta::assert_snapshot!(card("Sorts claims").document().unwrap().body(), @r#"{"name":"Claims triage","owner":"Claims operations","purpose":"Sorts claims","models":["demo-small","demo-large"],"tool_scopes":["crm.contacts:read"],"risk_tier":"limited"}"#);
}

#[test]
fn a_change_that_only_the_document_shows_is_a_change() {
    let change = |purpose| AgentCommand::Change { card: card(purpose) };
    let result = agent()
        .given(vec![registered("Sorts claims")])
        .when(change("Pays claims"))
        .inspect_result();
    assert!(matches!(result.unwrap()[..], [AgentEvent::AgentChanged { .. }]));
    agent()
        .given(vec![registered("Sorts claims")])
        .when(change("Sorts claims"))
        .then_expect_error(AgentError::Unchanged);
}

#[test]
fn a_card_names_at_least_one_model_and_each_once() {
    for (names, error) in [
        (&[][..], AgentError::NoModels),
        (&["a", "a"], AgentError::ModelTwice),
    ] {
        let card = SpecCard {
            models: models(names),
            ..card("x")
        };
        agent()
            .given_no_previous_events()
            .when(AgentCommand::Register { card })
            .then_expect_error(error);
    }
}

#[test]
fn an_agent_that_does_not_exist_takes_no_command() {
    for command in [
        AgentCommand::Change { card: card("x") },
        AgentCommand::Suspend { reason: LEAKED },
        AgentCommand::Resume,
        issue(1, None),
        AgentCommand::RevokeKey {
            key_id: key(1),
            reason: LEAKED,
        },
    ] {
        agent()
            .given_no_previous_events()
            .when(command)
            .then_expect_error(AgentError::NotFound);
    }
}

#[test]
fn suspension_and_resumption_alternate() {
    let suspended = AgentEvent::AgentSuspended { reason: LEAKED };
    agent()
        .given(vec![registered("x"), suspended.clone()])
        .when(AgentCommand::Suspend { reason: LEAKED })
        .then_expect_error(AgentError::AlreadySuspended);
    agent()
        .given(vec![registered("x"), suspended])
        .when(AgentCommand::Resume)
        .then_expect_events(vec![AgentEvent::AgentResumed {}]);
    agent()
        .given(vec![registered("x")])
        .when(AgentCommand::Resume)
        .then_expect_error(AgentError::NotSuspended);
}

#[test]
fn a_key_is_issued_unless_it_would_expire_in_the_past() {
    let given = || agent().given(vec![registered("x")]);
    given()
        .when(issue(1, None))
        .then_expect_events(vec![issued(1, None)]);
    let later = Some(at("12:00:01"));
    given()
        .when(issue(1, later))
        .then_expect_events(vec![issued(1, later)]);
    given()
        .when(issue(1, Some(at("12:00:00"))))
        .then_expect_error(AgentError::ExpiresInThePast);
}

#[test]
fn a_key_id_is_not_taken_twice() {
    agent()
        .given(vec![registered("x"), issued(1, None)])
        .when(issue(1, None))
        .then_expect_error(AgentError::KeyIdTaken(key(1)));
}

#[test]
fn the_17th_key_waits_for_a_revocation() {
    let revoked = AgentEvent::AgentKeyRevoked {
        key_id: key(3),
        reason: LEAKED,
    };
    let full: Vec<_> = std::iter::once(registered("x"))
        .chain((0..16).map(|n| issued(n, None)))
        .collect();
    agent()
        .given(full.clone())
        .when(issue(99, None))
        .then_expect_error(AgentError::TooManyKeys);
    agent()
        .given(full)
        .and(vec![revoked])
        .when(issue(99, None))
        .then_expect_events(vec![issued(99, None)]);
}

#[test]
fn a_key_is_revoked_once() {
    let revoke = || AgentCommand::RevokeKey {
        key_id: key(1),
        reason: LEAKED,
    };
    let revoked = AgentEvent::AgentKeyRevoked {
        key_id: key(1),
        reason: LEAKED,
    };
    agent()
        .given(vec![registered("x"), issued(1, None)])
        .when(revoke())
        .then_expect_events(vec![revoked.clone()]);
    agent()
        .given(vec![registered("x"), issued(1, None), revoked])
        .when(revoke())
        .then_expect_error(AgentError::KeyNotFound(key(1)));
}

#[test]
fn a_suspended_agent_can_still_lose_a_key() {
    let revoked = AgentEvent::AgentKeyRevoked {
        key_id: key(1),
        reason: LEAKED,
    };
    agent()
        .given(vec![
            registered("x"),
            issued(1, None),
            AgentEvent::AgentSuspended { reason: LEAKED },
        ])
        .when(AgentCommand::RevokeKey {
            key_id: key(1),
            reason: LEAKED,
        })
        .then_expect_events(vec![revoked]);
}

fn rotate(old: u128, new: u128, grace_s: u64, now: Timestamp) -> AgentCommand {
    AgentCommand::RotateKey {
        old: key(old),
        grace: Duration::from_secs(grace_s),
        key_id: key(new),
        hash: ApiKeyHash([0; 32]),
        expires_at: None,
        now,
    }
}

fn rotated(old: u128, new: u128, old_ends_at: Timestamp) -> AgentEvent {
    AgentEvent::AgentKeyRotated {
        key_id: key(new),
        hash: ApiKeyHash([0; 32]),
        expires_at: None,
        old: key(old),
        old_ends_at,
    }
}

#[test]
fn a_key_is_replaced_and_ends_by_itself_at_a_time_that_is_on_record() {
    let given = || agent().given(vec![registered("x"), issued(1, None)]);
    let noon = at("12:00:00");
    given()
        .when(rotate(1, 2, 60, noon))
        .then_expect_events(vec![rotated(1, 2, at("12:01:00"))]);
    given()
        .when(rotate(1, 2, 0, noon))
        .then_expect_events(vec![rotated(1, 2, noon)]);
    given()
        .when(rotate(1, 2, 7 * 24 * 3600 + 1, noon))
        .then_expect_error(AgentError::GraceTooLong);
    given()
        .when(rotate(3, 2, 60, noon))
        .then_expect_error(AgentError::KeyNotFound(key(3)));
    let after = || given().and(vec![rotated(1, 2, at("12:01:00"))]);
    after()
        .when(rotate(1, 3, 60, noon))
        .then_expect_error(AgentError::KeyEnding(key(1)));
    // While it ends it can still be revoked, at once.
    let (key_id, reason) = (key(1), LEAKED);
    after()
        .when(AgentCommand::RevokeKey { key_id, reason })
        .then_expect_events(vec![AgentEvent::AgentKeyRevoked {
            key_id: key(1),
            reason: LEAKED,
        }]);
}

#[test]
fn a_key_that_ends_counts_until_its_end() {
    let full: Vec<_> = std::iter::once(registered("x"))
        .chain((0..15).map(|n| issued(n, None)))
        .chain([rotated(1, 15, at("12:01:00"))])
        .collect();
    agent()
        .given(full.clone())
        .when(rotate(2, 16, 60, at("12:00:59")))
        .then_expect_error(AgentError::TooManyKeys);
    agent()
        .given(full)
        .when(rotate(2, 16, 60, at("12:01:00")))
        .then_expect_events(vec![rotated(2, 16, at("12:02:00"))]);
}

#[test]
fn however_often_keys_are_rotated_the_state_stays_bounded() {
    let mut agent = Agent::default();
    agent.fold(registered("x"));
    agent.fold(issued(0, None));
    for n in 0..100 {
        let end = at("12:00:00").checked_add(Duration::from_secs(60 * u64::try_from(n).unwrap()));
        agent.fold(rotated(n, n + 1, end.unwrap()));
    }
    let details = agent.details.unwrap();
    assert_eq!(
        (details.live_keys.len(), details.ending_keys.len()),
        (1, MAX_LIVE_KEYS)
    );
    // The latest are kept.
    assert!(details.ending_keys.contains_key(&key(99)) && !details.ending_keys.contains_key(&key(1)));
}
