//! The catalogue against the types, the examples, the old bytes and the checked-in schemas.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cqrs_es::Aggregate;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::agent::{AgentEvent, RiskTier};
use crate::completion::CompletionEvent;
use crate::envelope::Envelope;
use crate::schema::decode;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A line of `fixtures/events/examples.jsonl`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    aggregate: String,
    #[serde(rename = "type")]
    event_type: String,
    version: String,
    payload: Box<RawValue>,
}

fn examples() -> Vec<Example> {
    let text = std::fs::read_to_string(repository("fixtures/events/examples.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_catalogue_is_this() {
    let lines: Vec<_> = CATALOGUE
        .iter()
        .flat_map(|entry| entry.events.iter().map(move |event| (entry.aggregate, event)))
        .map(|(aggregate, event)| {
            let older: Vec<_> = event.upcasts.iter().map(|step| step.from).collect();
            let older = if older.is_empty() {
                String::new()
            } else {
                format!(" (reads {})", older.join(", "))
            };
            format!("{aggregate} {} {}{older}", event.event_type, event.version)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn each_event_of_the_catalogue_is_a_variant_and_each_variant_is_in_the_catalogue() {
    for entry in CATALOGUE {
        let variants: BTreeSet<_> = (entry.payloads)().as_object().unwrap().keys().cloned().collect();
        let listed: BTreeSet<_> = entry
            .events
            .iter()
            .map(|event| event.event_type.to_owned())
            .collect();
        assert_eq!(variants, listed, "{}", entry.aggregate);
        assert_eq!(
            listed.len(),
            entry.events.len(),
            "{}: a type is listed twice",
            entry.aggregate
        );
    }
}

#[test]
fn the_way_from_each_old_version_leads_to_the_current_one() {
    for event in CATALOGUE.iter().flat_map(|entry| entry.events) {
        for (at, step) in event.upcasts.iter().enumerate() {
            let next = event.upcasts.get(at + 1).map_or(event.version, |next| next.from);
            assert_eq!(step.to, next, "{} from {}", event.event_type, step.from);
        }
    }
}

#[test]
fn every_event_has_an_example_that_is_read_and_written_back_byte_for_byte() {
    let mut seen = BTreeSet::new();
    for Example {
        aggregate,
        event_type,
        version,
        payload,
    } in examples()
    {
        let read = upcast(&aggregate, &event_type, &version, &payload).unwrap();
        assert_eq!(read.payload.get(), payload.get(), "{event_type}");
        assert_eq!(read.version, version, "{event_type}");
        seen.insert((aggregate, event_type));
    }
    for schema in event_schemas() {
        let key = (schema.aggregate.to_owned(), schema.event_type.to_owned());
        assert!(seen.contains(&key), "no example of {key:?}");
    }
}

#[test]
fn a_field_that_is_not_in_the_schema_is_refused_in_every_event() {
    for Example {
        aggregate,
        event_type,
        version,
        payload,
    } in examples()
    {
        let mut fields: Value = serde_json::from_str(payload.get()).unwrap();
        fields["extra"] = 1.into();
        let payload = serde_json::value::to_raw_value(&fields).unwrap();
        let error = upcast(&aggregate, &event_type, &version, &payload).unwrap_err();
        assert!(
            matches!(error, DecodeError::Malformed { .. }),
            "{event_type}: {error}"
        );
    }
}

#[test]
fn examples_have_the_fields_of_their_schemas() {
    let schemas = event_schemas();
    for Example {
        aggregate,
        event_type,
        payload,
        ..
    } in examples()
    {
        let of_type = |s: &&PayloadSchema| s.aggregate == aggregate && s.event_type == event_type;
        let schema = &schemas.iter().find(of_type).unwrap().schema;
        let names = |value: &Value| {
            value
                .as_object()
                .map(|o| o.keys().cloned().collect())
                .unwrap_or_default()
        };
        let properties: BTreeSet<String> = names(&schema["properties"]);
        let fields: BTreeSet<String> = names(&serde_json::from_str(payload.get()).unwrap());
        assert_eq!(fields, properties, "{event_type}");
        assert_eq!(schema["additionalProperties"], false, "{event_type}");
    }
}

/// Every value below `schema` under one of `keywords`.
fn each<'v>(schema: &'v Value, visit: &mut impl FnMut(&'v serde_json::Map<String, Value>)) {
    match schema {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|value| each(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| each(value, visit)),
        _ => {}
    }
}

#[test]
fn no_payload_has_a_float_or_an_unbounded_list_or_text() {
    for PayloadSchema {
        event_type, schema, ..
    } in event_schemas()
    {
        each(&schema, &mut |fields| {
            let is = |name: &str| match &fields.get("type") {
                Some(Value::String(one)) => one == name,
                Some(Value::Array(several)) => several.iter().any(|one| one == name),
                _ => false,
            };
            let has = |keyword: &str| fields.contains_key(keyword);
            assert!(!is("number"), "{event_type}: a float in {fields:?}");
            assert!(
                !is("array") || has("maxItems"),
                "{event_type}: an unbounded list in {fields:?}"
            );
            let bounded = has("pattern") || has("format") || has("maxLength") || has("enum") || has("const");
            assert!(
                !is("string") || bounded,
                "{event_type}: an undeclared text in {fields:?}"
            );
            assert!(!has("$ref"), "{event_type}: a reference in {fields:?}");
        });
    }
}

#[test]
fn an_unknown_aggregate_type_or_version_asks_for_an_upgrade() {
    let payload = RawValue::from_string("{}".to_owned()).unwrap();
    for (aggregate, event_type, version) in [
        ("broker", "AgentResumed", "1.0"),
        ("agent", "AgentPromoted", "1.0"),
        ("agent", "AgentResumed", "1.1"),
        ("agent", "TenantResumed", "1.0"),
    ] {
        let error = upcast(aggregate, event_type, version, &payload).unwrap_err();
        assert!(matches!(error, DecodeError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
    assert!(upcast("agent", "AgentResumed", "1.0", &payload).is_ok());
}

#[test]
fn an_agent_registered_by_an_old_build_is_lifted_and_folded() {
    let bytes = std::fs::read_to_string(repository("fixtures/events/agent-registered-0.9.json")).unwrap();
    let envelope = Envelope::parse(&bytes).unwrap();
    assert_eq!(
        (envelope.event_type.as_ref(), envelope.version.as_ref()),
        ("AgentRegistered", "0.9")
    );
    let event = decode::<Agent>(&envelope.event_type, &envelope.version, envelope.payload).unwrap();
    assert!(
        matches!(
            event,
            AgentEvent::AgentRegistered {
                risk_tier: RiskTier::Limited,
                ..
            }
        ),
        "{event:?}"
    );
    let mut agent = Agent::default();
    agent.apply(event);
    assert!(!agent.details.unwrap().suspended);
    let lifted = upcast("agent", "AgentRegistered", "0.9", envelope.payload).unwrap();
    insta::assert_snapshot!(lifted.payload.get());
}

#[test]
fn a_completion_authorised_before_the_vault_names_no_secret() {
    let bytes =
        std::fs::read_to_string(repository("fixtures/events/completion-authorized-1.0.json")).unwrap();
    let envelope = Envelope::parse(&bytes).unwrap();
    let (event_type, version) = (envelope.event_type.as_ref(), envelope.version.as_ref());
    assert_eq!((event_type, version), ("CompletionAuthorized", "1.0"));
    let event = decode::<Completion>(event_type, version, envelope.payload).unwrap();
    let CompletionEvent::CompletionAuthorized { secret: None, .. } = &event else {
        panic!("{event:?}");
    };
    let mut completion = Completion::default();
    completion.apply(event);
    assert!(matches!(completion, Completion::Authorized(_)));
}

#[test]
fn old_bytes_are_hashed_as_they_are_and_never_rewritten() {
    let bytes = std::fs::read_to_string(repository("fixtures/events/agent-registered-0.9.json")).unwrap();
    insta::assert_snapshot!(crate::envelope::hash(bytes.as_bytes()));
}

/// Run with `COUNTERFOIL_WRITE_SCHEMAS=1` to write them anew.
#[test]
fn the_published_schemas_are_current() {
    let folder = repository("docs/schemas/events");
    let write = std::env::var_os("COUNTERFOIL_WRITE_SCHEMAS").is_some();
    let mut expected = BTreeSet::new();
    for schema in event_schemas() {
        let path = folder.join(schema.path());
        let text = serde_json::to_string_pretty(&schema.schema).unwrap() + "\n";
        if write {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is not current: run COUNTERFOIL_WRITE_SCHEMAS=1 cargo test -p counterfoil-events published_schemas",
            path.display()
        );
        expected.insert(path);
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        for file in std::fs::read_dir(entry.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            assert!(
                expected.contains(&path),
                "{} is of no event: remove it",
                path.display()
            );
        }
    }
}

#[test]
fn the_documentation_names_every_event() {
    let text = std::fs::read_to_string(repository("docs/events.md")).unwrap();
    for schema in event_schemas() {
        let row = format!("| `{}` |", schema.event_type);
        assert!(
            text.contains(&row),
            "docs/events.md does not describe {}",
            schema.event_type
        );
    }
}
