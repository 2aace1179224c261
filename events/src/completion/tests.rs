//! The rules of a completion, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;

use super::*;
use crate::ids::{AgentId, ApiKeyId, ContentDigest, DocumentDigest, PolicyInputDigest};
use crate::money::Micros;
use crate::policy::{PolicyLayer, PolicyRef};
use crate::text::Code;

fn completion() -> TestFramework<Completion> {
    TestFramework::with(())
}

fn euros(micros: i64) -> Money {
    Money {
        micros: Micros(micros),
        currency: Currency::EUR,
    }
}

fn verdicts() -> Verdicts {
    Verdicts::first_of([StepVerdict {
        step: Code::literal("policy.authz"),
        version: 1,
        verdict: Verdict::Pass,
        micros: 40,
    }])
}

fn policies() -> Policies {
    Policies::first_of([PolicyRef {
        layer: PolicyLayer::Tenant,
        version: 3,
        digest: DocumentDigest([3; 32]),
    }])
}

fn authorization() -> Authorization {
    Authorization {
        agent: AgentId(uuid::Uuid::from_u128(1)),
        key_id: ApiKeyId(uuid::Uuid::from_u128(2)),
        model: "demo-small".parse().unwrap(),
        provider: Code::literal("demo"),
        stream: false,
        policies: policies(),
        policy_input_digest: PolicyInputDigest::of(b"input"),
        request_digest: ContentDigest::of(b"{}"),
        request_bytes: 2,
        input_tokens_bound: 100,
        output_tokens_cap: 50,
        max_cost: euros(1_500),
        price: PriceRef {
            id: Code::literal("demo-small"),
            date: "2026-11-01".parse().unwrap(),
        },
        verdicts: verdicts(),
        timeout_ms: 60_000,
        secret: None,
    }
}

fn denial() -> Denial {
    Denial {
        agent: AgentId(uuid::Uuid::from_u128(1)),
        key_id: ApiKeyId(uuid::Uuid::from_u128(2)),
        model: None,
        step: Code::literal("policy.model_allow"),
        code: Code::literal("model_not_allowed"),
        reasons: Reasons::first_of([Code::literal("model_not_in_spec_card")]),
        policies: policies(),
        policy_input_digest: None,
        request_digest: ContentDigest::of(b"{}"),
        request_bytes: 2,
        verdicts: verdicts(),
    }
}

fn settlement() -> Settlement {
    Settlement {
        usage: Usage {
            input_tokens: 80,
            output_tokens: 20,
            cached_tokens: 0,
            estimated: false,
        },
        cost: euros(900),
        response_digest: ContentDigest::of(b"answer"),
        response_bytes: 6,
        finish_reason: FinishReason::Stop,
        attempts: 1,
        provider_ms: 12,
        total_ms: 14,
        verdicts: Verdicts::default(),
    }
}

fn failure() -> Failure {
    Failure {
        code: FailureCode::ProviderBrokeOff,
        provider_status: Some(200),
        usage: Usage {
            input_tokens: 80,
            output_tokens: 3,
            cached_tokens: 0,
            estimated: true,
        },
        cost: euros(830),
        response_bytes: 120,
        attempts: 1,
        provider_ms: 12,
        total_ms: 14,
        verdicts: Verdicts::default(),
    }
}

fn authorized() -> CompletionEvent {
    authorization().into()
}

fn lost() -> CompletionEvent {
    CompletionEvent::CompletionLost {
        usage: Usage {
            input_tokens: 100,
            output_tokens: 50,
            cached_tokens: 0,
            estimated: true,
        },
        cost: euros(1_500),
    }
}

fn settle() -> CompletionCommand {
    CompletionCommand::Settle(settlement().into())
}

fn fail() -> CompletionCommand {
    CompletionCommand::Fail(failure().into())
}

#[test]
fn a_completion_is_decided_on_once() {
    let authorize = || CompletionCommand::Authorize(authorization().into());
    let deny = || CompletionCommand::Deny(denial().into());
    completion()
        .given_no_previous_events()
        .when(authorize())
        .then_expect_events(vec![authorized()]);
    completion()
        .given_no_previous_events()
        .when(deny())
        .then_expect_events(vec![denial().into()]);
    for first in [authorized(), denial().into()] {
        for second in [authorize(), deny()] {
            completion()
                .given(vec![first.clone()])
                .when(second)
                .then_expect_error(CompletionError::AlreadyDecided);
        }
    }
}

#[test]
fn nothing_ends_before_it_is_authorised() {
    for command in [settle(), fail(), CompletionCommand::DeclareLost] {
        completion()
            .given_no_previous_events()
            .when(command.clone())
            .then_expect_error(CompletionError::NotFound);
        completion()
            .given(vec![denial().into()])
            .when(command)
            .then_expect_error(CompletionError::AlreadyEnded);
    }
}

#[test]
fn an_authorised_completion_ends_once() {
    for (command, event) in [
        (settle(), settlement().into()),
        (fail(), failure().into()),
        (CompletionCommand::DeclareLost, lost()),
    ] {
        completion()
            .given(vec![authorized()])
            .when(command)
            .then_expect_events(vec![event]);
    }
    for ended in [CompletionEvent::from(settlement()), failure().into()] {
        for command in [settle(), fail(), CompletionCommand::DeclareLost] {
            completion()
                .given(vec![authorized(), ended.clone()])
                .when(command)
                .then_expect_error(CompletionError::AlreadyEnded);
        }
    }
}

#[test]
fn a_late_ending_of_a_lost_completion_is_a_correction() {
    for (command, correction) in [
        (settle(), settlement().correction()),
        (fail(), failure().correction()),
    ] {
        completion()
            .given(vec![authorized(), lost()])
            .when(command.clone())
            .then_expect_events(vec![correction.clone()]);
        completion()
            .given(vec![authorized(), lost(), correction])
            .when(command)
            .then_expect_error(CompletionError::AlreadyEnded);
    }
    completion()
        .given(vec![authorized(), lost()])
        .when(CompletionCommand::DeclareLost)
        .then_expect_error(CompletionError::AlreadyEnded);
}

#[test]
fn the_bill_is_in_the_currency_of_the_authorisation() {
    let mut dollars = settlement();
    dollars.cost.currency = Currency::USD;
    completion()
        .given(vec![authorized()])
        .when(CompletionCommand::Settle(dollars.into()))
        .then_expect_error(CompletionError::OtherCurrency {
            authorized: Currency::EUR,
        });
}

#[test]
fn an_ending_is_these_bytes() {
    let payload = |event: CompletionEvent| crate::schema::encode(&event).unwrap();
    insta::assert_snapshot!(payload(settlement().into()), @r#"{"usage":{"input_tokens":80,"output_tokens":20,"cached_tokens":0,"estimated":false},"cost":{"micros":"900","currency":"EUR"},"response_digest":"63b24a318813c47bce54f4e4dc1f052a586c63eeb96d20ed88bf1b86bd6d362c","response_bytes":6,"finish_reason":"stop","attempts":1,"provider_ms":12,"total_ms":14,"verdicts":[]}"#);
    insta::assert_snapshot!(payload(failure().into()), @r#"{"code":"provider_broke_off","provider_status":200,"usage":{"input_tokens":80,"output_tokens":3,"cached_tokens":0,"estimated":true},"cost":{"micros":"830","currency":"EUR"},"response_bytes":120,"attempts":1,"provider_ms":12,"total_ms":14,"verdicts":[]}"#);
}
