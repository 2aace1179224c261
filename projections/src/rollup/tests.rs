//! The law of rollups: whatever the order in which the logs are folded, the rows are the same.
#![allow(clippy::unwrap_used)]

use counterfoil_events::ids::{EventId, Position, Sequence, TenantId};
use counterfoil_events::timestamp::Timestamp;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Rollups;
use crate::engine::{FoldEvent, Projection, Rows};

const CARRIERS: u128 = 2;
const TENANTS: u128 = 2;

/// An event of a log that is still to be placed.
#[derive(Debug, Clone)]
struct Step {
    aggregate: &'static str,
    id: String,
    event_type: &'static str,
    payload: Value,
}

fn carrier(n: u128) -> Uuid {
    Uuid::from_u128(0x100 + n)
}

fn home(n: u128) -> Uuid {
    Uuid::from_u128(0x200 + n)
}

fn tenant(n: u128) -> Uuid {
    Uuid::from_u128(0x300 + n)
}

fn at(minute: u32) -> String {
    format!("2026-11-20T12:{minute:02}:00.000000Z")
}

fn bands(low: bool) -> Value {
    match low {
        true => json!({"direction": "lower_is_worse", "lower": {"amber": "2", "red": "1"}}),
        false => json!({"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}),
    }
}

fn step(aggregate: &'static str, id: impl ToString, event_type: &'static str, payload: Value) -> Step {
    Step {
        aggregate,
        id: id.to_string(),
        event_type,
        payload,
    }
}

/// The platform's log begins with what everything else refers to.
fn founding() -> Vec<Step> {
    let organisations = (0..CARRIERS).map(|n| {
        let payload = json!({"kind": "carrier", "name": "Carrier", "home_tenant": home(n)});
        step("organisation", carrier(n), "OrganisationCreated", payload)
    });
    let tenants = (0..TENANTS).map(|n| {
        let payload = json!({"organisation": Uuid::from_u128(1), "name": "Tenant", "home": false});
        step("tenant", tenant(n), "TenantCreated", payload)
    });
    organisations.chain(tenants).collect()
}

fn platform_step() -> impl Strategy<Value = Step> {
    (0..5u8, 0..TENANTS, 0..CARRIERS, 1..9u32).prop_map(|(kind, t, c, n)| {
        let (event_type, payload) = match kind {
            0 | 1 => (
                "TenantCarried",
                json!({"carrier": carrier(c), "share": format!("0.{n}")}),
            ),
            2 => ("TenantReleased", json!({"carrier": carrier(c)})),
            3 => ("TenantRenamed", json!({"name": format!("Tenant {n}")})),
            _ => (
                "ExposureSet",
                json!({"amount": {"micros": n.to_string(), "currency": "EUR"}}),
            ),
        };
        step("tenant", tenant(t), event_type, payload)
    })
}

fn tenant_step() -> impl Strategy<Value = Step> {
    (0..8u8, 0..2u8, 1..9u32, any::<bool>()).prop_map(|(kind, kri, n, low)| {
        let name = format!("kri-{kri}");
        let unit = if n > 6 { "hours" } else { "days" };
        let definition = json!({"name": "A KRI", "unit": unit, "bands": bands(low), "schedule": {"frequency": "hourly"}});
        match kind {
            0 => step("kri", name, "KriChanged", definition),
            1 if n == 1 => step("kri", name, "KriRetired", json!({"reason": "unused"})),
            _ => step("kri_run", Uuid::from_u128(n.into()), "KriRunCompleted", json!({
                "kri": name, "source": Uuid::from_u128(9), "attempt": 1, "value": n.to_string(), "status": "green",
                "bands": bands(low), "measured_at": at(n * 5), "fresh_until": at(n * 5 + 2),
                "payload_digest": "05".repeat(32), "payload_bytes": 1, "positions": null,
            })),
        }
    })
}

fn tenant_log() -> impl Strategy<Value = Vec<Step>> {
    let define = |n: u8| {
        let payload = json!({"name": "A KRI", "unit": "days", "bands": bands(false), "schedule": {"frequency": "hourly"}});
        step("kri", format!("kri-{n}"), "KriDefined", payload)
    };
    prop::collection::vec(tenant_step(), 0..12)
        .prop_map(move |rest| [define(0), define(1)].into_iter().chain(rest).collect())
}

/// Every log, and a choice of whose event comes next that is different each time.
fn logs() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let platform = prop::collection::vec(platform_step(), 0..16)
        .prop_map(|rest| founding().into_iter().chain(rest).collect::<Vec<_>>());
    (platform, tenant_log(), tenant_log()).prop_map(|(platform, a, b)| vec![platform, a, b])
}

/// Folds the logs, each in its order, in the interleaving that `choices` make; answers the rows.
fn fold(logs: &[Vec<Step>], choices: &[usize]) -> Vec<(String, Option<Value>)> {
    let owners = [TenantId::PLATFORM, TenantId(tenant(0)), TenantId(tenant(1))];
    let mut rows = Rows::of_empty_tables();
    let mut next = [0; 3];
    let mut choices = choices.iter().cycle();
    while let Some(first) = (0..3).find(|log| next[*log] < logs[*log].len()) {
        let chosen = choices.next().map_or(first, |choice| choice % 3);
        let log = if next[chosen] < logs[chosen].len() {
            chosen
        } else {
            first
        };
        let step = &logs[log][next[log]];
        next[log] += 1;
        let payload = RawValue::from_string(step.payload.to_string()).unwrap();
        let event = FoldEvent {
            tenant: owners[log],
            position: Position(next[log] as u64),
            event_id: EventId(Uuid::from_u128((log as u128) << 32 | next[log] as u128)),
            recorded_at: Timestamp::EPOCH,
            aggregate: step.aggregate,
            aggregate_id: &step.id,
            sequence: Sequence(1),
            event_type: step.event_type,
            version: "1.0",
            payload: &payload,
        };
        Rollups.fold(&mut rows, &event).unwrap();
        rows.keep();
    }
    let rows = rows.take_changes().unwrap();
    // A row that was deleted is as one that never was.
    rows.into_iter()
        .filter_map(|(key, row)| Some((format!("{key:?}"), Some(serde_json::from_str(&row?).unwrap()))))
        .collect()
}

proptest! {
    #[test]
    fn the_rows_are_the_same_in_any_interleaving_of_the_logs(
        logs in logs(),
        one in prop::collection::vec(0..3usize, 1..40),
        other in prop::collection::vec(0..3usize, 1..40),
    ) {
        prop_assert_eq!(fold(&logs, &one), fold(&logs, &other));
    }
}
