//! An event that ends a completion fits an envelope, whatever it is filled with.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::actor::{Actor, ActorKind};
use crate::envelope::{EnvelopeFields, FORMAT_VERSION, MAX_ENVELOPE_BYTES};
use crate::ids::{ContentDigest, EventHash, EventId, Position, Sequence, TenantId};
use crate::money::Micros;
use crate::schema::encode;
use crate::text::Code;
use crate::timestamp::Timestamp;

/// The largest envelope around `payload`: each field of ours at its limit.
fn envelope_bytes(payload: &RawValue) -> usize {
    let id = "\u{1}".repeat(128);
    let fields = EnvelopeFields {
        v: FORMAT_VERSION,
        tenant: TenantId(uuid::Uuid::max()),
        position: Position(u64::MAX),
        event_id: EventId(uuid::Uuid::max()),
        aggregate: "completion",
        aggregate_id: &uuid::Uuid::max().to_string(),
        sequence: Sequence(u64::MAX),
        event_type: "CompletionCorrected",
        version: "1.0",
        recorded_at: Timestamp::EPOCH,
        actor: &Actor {
            kind: ActorKind::Service,
            id: id.clone(),
        },
        request_id: &id,
        traceparent: Some(&"f".repeat(55)),
        causation: Some(EventId(uuid::Uuid::max())),
        prev: EventHash::ZERO,
        payload,
    };
    fields.serialise().unwrap().len()
}

/// Texts of every length, and lists that are given far more than they hold.
fn any_verdicts() -> impl Strategy<Value = Verdicts> {
    let verdict =
        ("[a-z0-9_.-]{1,64}", any::<u16>(), any::<u32>()).prop_map(|(step, version, micros)| StepVerdict {
            step: step.parse().unwrap(),
            version,
            verdict: Verdict::Unavailable,
            micros,
        });
    prop::collection::vec(verdict, 0..200).prop_map(Verdicts::first_of)
}

fn any_usage() -> impl Strategy<Value = Usage> {
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<bool>()).prop_map(
        |(input_tokens, output_tokens, cached_tokens, estimated)| Usage {
            input_tokens,
            output_tokens,
            cached_tokens,
            estimated,
        },
    )
}

fn any_money() -> impl Strategy<Value = Money> {
    any::<i64>().prop_map(|micros| Money {
        micros: Micros(micros),
        currency: Currency::EUR,
    })
}

fn endings(verdicts: Verdicts, usage: Usage, cost: Money, number: u32) -> [CompletionEvent; 5] {
    let small = u16::try_from(number % 65_536).unwrap();
    let settled = Settlement {
        usage,
        cost,
        response_digest: ContentDigest([0xff; 32]),
        response_bytes: number,
        finish_reason: FinishReason::ContentFilter,
        attempts: small,
        provider_ms: number,
        total_ms: number,
        verdicts: verdicts.clone(),
    };
    let failed = Failure {
        code: FailureCode::ProviderAnswerMalformed,
        provider_status: Some(small),
        usage,
        cost,
        response_bytes: number,
        attempts: small,
        provider_ms: number,
        total_ms: number,
        verdicts,
    };
    [
        settled.clone().into(),
        settled.correction(),
        failed.clone().into(),
        failed.correction(),
        CompletionEvent::CompletionLost { usage, cost },
    ]
}

proptest! {
    #[test]
    fn an_ending_fits_an_envelope_for_any_input(
        verdicts in any_verdicts(), usage in any_usage(), cost in any_money(), number in any::<u32>(),
    ) {
        for event in endings(verdicts, usage, cost, number) {
            let bytes = envelope_bytes(&encode(&event).unwrap());
            prop_assert!(bytes <= MAX_ENVELOPE_BYTES, "{bytes}");
        }
    }
}

#[test]
fn the_largest_ending_leaves_more_than_half_of_an_envelope() {
    let verdict = StepVerdict {
        step: Code::literal("a23456789.123456789.123456789.123456789.123456789.123456789.1234"),
        version: u16::MAX,
        verdict: Verdict::Unavailable,
        micros: u32::MAX,
    };
    let usage = Usage {
        input_tokens: u32::MAX,
        output_tokens: u32::MAX,
        cached_tokens: u32::MAX,
        estimated: false,
    };
    let cost = Money {
        micros: Micros(i64::MIN),
        currency: Currency::EUR,
    };
    let verdicts = Verdicts::first_of(std::iter::repeat_n(verdict, 1_000));
    let largest = endings(verdicts, usage, cost, u32::MAX)
        .iter()
        .map(|event| envelope_bytes(&encode(event).unwrap()))
        .max();
    assert!(largest.unwrap() < MAX_ENVELOPE_BYTES / 2, "{largest:?}");
}
