//! The demo's KRIs, read by the connectors that the demo reads them with: they must say what their README says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use serde::Deserialize;

use counterfoil_events::kri::bands::Bands;
use counterfoil_events::kri::frequency::Schedule;
use counterfoil_events::kri::source::CsvSource;
use counterfoil_events::kri::status::{KriStatus, status_at};
use counterfoil_events::kri::text::Unit;
use counterfoil_events::timestamp::Timestamp;

use super::{observed, readings};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    as_of: String,
    tenants: Vec<String>,
    kris: Vec<Kri>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kri {
    key: String,
    #[expect(dead_code, reason = "read to see that it is there")]
    name: String,
    #[expect(dead_code, reason = "read to see that it is valid")]
    unit: Unit,
    bands: Bands,
    schedule: Schedule,
    source: serde_json::Value,
}

fn read(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/kri");
    std::fs::read_to_string(root.join(path)).unwrap()
}

fn fixture() -> Fixture {
    serde_json::from_str(&read("kris.json")).unwrap()
}

/// A tenant's source as the demo makes it: the definition's columns over the tenant's file.
fn source(kri: &Kri, tenant: &str) -> (CsvSource, String) {
    let text = read(&format!("{}/{tenant}.csv", kri.key));
    let mut source = kri.source.clone();
    source["text"] = text.clone().into();
    (serde_json::from_value(source).unwrap(), text)
}

fn status(kri: &Kri, tenant: &str, at: Timestamp) -> KriStatus {
    let (source, text) = source(kri, tenant);
    let last = readings(&text, &source).unwrap().pop().unwrap();
    let fresh_until = kri.schedule.fresh_until(last.observed_at.unwrap());
    status_at(kri.bands.band(last.value), fresh_until, at)
}

#[test]
fn at_the_end_of_the_history_the_statuses_are_those_of_the_readme() {
    use KriStatus::{Amber, Green, Red, Stale};
    let fixture = fixture();
    let at = observed::parse(&fixture.as_of).unwrap();
    let table: Vec<Vec<KriStatus>> = fixture
        .kris
        .iter()
        .map(|kri| {
            fixture
                .tenants
                .iter()
                .map(|tenant| status(kri, tenant, at))
                .collect()
        })
        .collect();
    assert_eq!(
        table,
        [[Green, Red, Amber], [Green, Amber, Green], [Green, Stale, Amber]]
    );
}

#[test]
fn every_history_spans_months_in_order_and_has_seen_more_than_one_value() {
    let fixture = fixture();
    for kri in &fixture.kris {
        for tenant in &fixture.tenants {
            let (source, text) = source(kri, tenant);
            let history = readings(&text, &source).unwrap();
            assert!(history.len() >= 20, "{} {tenant}", kri.key);
            assert!(history.is_sorted_by(|a, b| a.observed_at < b.observed_at));
            assert!(history.iter().any(|reading| reading.value != history[0].value));
        }
    }
}
