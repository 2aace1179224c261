//! The rules of a source, as given, when, then.
#![allow(clippy::unwrap_used)]

use cqrs_es::test::TestFramework;
use serde_json::json;

use super::*;
use crate::kri::source::{CsvSource, SourceConfig};
use crate::text::Code;

fn source() -> TestFramework<KriSource> {
    TestFramework::with(())
}

fn kri() -> KriId {
    "loss-ratio".parse().unwrap()
}

fn endpoint(pointer: &str) -> SourceConfig {
    let config = json!({ "kind": "http_json", "url": "https://kri.example/loss", "pointer": pointer });
    serde_json::from_value(config).unwrap()
}

fn csv() -> CsvSource {
    let config = json!({ "kind": "csv", "text": "day,ratio\n2026-01-01,0.4\n", "column": "ratio", "aggregate": "last" });
    match serde_json::from_value(config).unwrap() {
        SourceConfig::Csv(csv) => csv,
        other => panic!("not a csv source: {other:?}"),
    }
}

fn configured(config: SourceConfig) -> KriSourceEvent {
    KriSourceEvent::KriSourceConfigured {
        kri: kri(),
        config: config.try_into().unwrap(),
    }
}

fn configure(config: SourceConfig) -> KriSourceCommand {
    KriSourceCommand::Configure { kri: kri(), config }
}

const DOWN: Code = Code::literal("down");

#[test]
fn a_source_is_configured_once() {
    source()
        .given_no_previous_events()
        .when(configure(endpoint("/ratio")))
        .then_expect_events(vec![configured(endpoint("/ratio"))]);
    source()
        .given(vec![configured(endpoint("/ratio"))])
        .when(configure(endpoint("/ratio")))
        .then_expect_error(KriSourceError::AlreadyExists);
}

#[test]
fn a_csv_text_never_stands_in_an_event() {
    let change = |config| KriSourceCommand::Change { config };
    source()
        .given_no_previous_events()
        .when(configure(SourceConfig::Csv(csv())))
        .then_expect_error(KriSourceError::TextNotAttached);
    source()
        .given(vec![configured(endpoint("/ratio"))])
        .when(change(SourceConfig::Csv(csv())))
        .then_expect_error(KriSourceError::TextNotAttached);
    let (attached, document) = csv().attach().unwrap();
    assert!(document.is_some());
    let attached = SourceConfig::Csv(attached);
    source()
        .given(vec![configured(endpoint("/ratio"))])
        .when(change(attached.clone()))
        .then_expect_events(vec![KriSourceEvent::KriSourceChanged {
            config: attached.try_into().unwrap(),
        }]);
}

#[test]
fn a_change_changes_something() {
    source()
        .given(vec![configured(endpoint("/ratio"))])
        .when(KriSourceCommand::Change {
            config: endpoint("/ratio"),
        })
        .then_expect_error(KriSourceError::Unchanged);
}

#[test]
fn disabling_and_enabling_alternate() {
    let given = |disabled: bool| {
        let mut history = vec![configured(endpoint("/ratio"))];
        history.extend(disabled.then_some(KriSourceEvent::KriSourceDisabled { reason: DOWN }));
        source().given(history)
    };
    let disable = || KriSourceCommand::Disable { reason: DOWN };
    given(false)
        .when(disable())
        .then_expect_events(vec![KriSourceEvent::KriSourceDisabled { reason: DOWN }]);
    given(true)
        .when(disable())
        .then_expect_error(KriSourceError::AlreadyDisabled);
    given(true)
        .when(KriSourceCommand::Enable)
        .then_expect_events(vec![KriSourceEvent::KriSourceEnabled {}]);
    given(false)
        .when(KriSourceCommand::Enable)
        .then_expect_error(KriSourceError::NotDisabled);
}

#[test]
fn what_was_never_configured_takes_no_command() {
    for command in [
        KriSourceCommand::Change {
            config: endpoint("/x"),
        },
        KriSourceCommand::Disable { reason: DOWN },
        KriSourceCommand::Enable,
    ] {
        source()
            .given_no_previous_events()
            .when(command)
            .then_expect_error(KriSourceError::NotFound);
    }
}

#[test]
fn an_event_that_somebody_made_with_a_text_in_it_is_not_read() {
    let config = serde_json::to_value(SourceConfig::Csv(csv())).unwrap();
    let event = json!({ "KriSourceChanged": { "config": config } });
    let error = serde_json::from_value::<KriSourceEvent>(event).unwrap_err();
    assert!(error.to_string().contains("attached as a document"), "{error}");
}
