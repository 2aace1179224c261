//! The verifiers over an export file: what may be done to it is found by both, ours and the independent one, with the
//! same kinds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use counterfoil::audit::{AuditError, Export, Keys, Scope, export, verify_file};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::signature::{KeyPair, Signer};
use serde_json::{Value, json};

use super::commands::text;
use super::support::{append, found, head_notes, ledger, root, scope, second_verifier};
use crate::support::ledger::TestLedger;

type Lines = Vec<String>;
type Tampering = (&'static str, fn(&mut Lines), &'static [(u64, &'static str)]);

/// The line of the event at a position.
fn at(lines: &Lines, position: u64) -> usize {
    let wanted = format!("\\\"position\\\":{position},");
    let found = lines
        .iter()
        .position(|line| line.starts_with("{\"event\"") && line.contains(&wanted));
    found.unwrap_or_else(|| panic!("no event at {position}"))
}

fn edit(lines: &mut Lines, position: u64, change: impl FnOnce(&mut Value)) {
    let index = at(lines, position);
    let mut line: Value = serde_json::from_str(&lines[index]).unwrap();
    change(&mut line["event"]);
    lines[index] = line.to_string();
}

/// The signature of another key over an event's hash.
fn signed_by_another(event: &Value) -> (String, String) {
    let other = KeyPair::from_seed(&[9; 32]);
    let hash = event["hash"].as_str().unwrap().parse().unwrap();
    (other.public_key().id().to_string(), other.sign(&hash).to_string())
}

const TAMPERINGS: &[Tampering] = &[
    (
        "a flipped byte",
        |lines| {
            let index = at(lines, 5);
            lines[index] = lines[index].replacen(r#"\"note\":\"x\""#, r#"\"note\":\"y\""#, 1);
        },
        &[(5, "hash_mismatch")],
    ),
    (
        "a hash",
        |lines| edit(lines, 5, |event| event["hash"] = json!("00".repeat(32))),
        &[(5, "hash_mismatch")],
    ),
    (
        "signed with another key, and saying so",
        |lines| {
            edit(lines, 5, |event| {
                let (key, signature) = signed_by_another(event);
                (event["key_id"], event["signature"]) = (json!(key), json!(signature));
            });
        },
        &[(5, "unknown_key")],
    ),
    (
        "signed with another key, under the name of ours",
        |lines| {
            edit(lines, 5, |event| {
                event["signature"] = json!(signed_by_another(event).1)
            })
        },
        &[(5, "signature_invalid")],
    ),
    (
        "a deletion in the middle",
        |lines| {
            let index = at(lines, 6);
            lines.remove(index);
            lines.remove(index - 1);
        },
        &[(5, "gap")],
    ),
    (
        "a deletion at the end",
        |lines| {
            let (from, to) = (at(lines, 10), at(lines, 12));
            lines.drain(from..=to);
        },
        &[(10, "missing_tail")],
    ),
    (
        "a file that was cut",
        |lines| drop(lines.pop()),
        &[(12, "missing_tail")],
    ),
    (
        "two events swapped",
        |lines| {
            let index = at(lines, 5);
            lines.swap(index, index + 1);
        },
        &[(5, "gap"), (5, "duplicate")],
    ),
    (
        "two envelopes swapped",
        |lines| {
            let envelope = |lines: &Lines, position| {
                let line: Value = serde_json::from_str(&lines[at(lines, position)]).unwrap();
                line["event"]["envelope"].clone()
            };
            let (fifth, sixth) = (at(lines, 5), at(lines, 6));
            let exchanged = [(fifth, envelope(lines, 6)), (sixth, envelope(lines, 5))];
            for (index, envelope) in exchanged {
                let mut line: Value = serde_json::from_str(&lines[index]).unwrap();
                line["event"]["envelope"] = envelope;
                lines[index] = line.to_string();
            }
        },
        // Neither has a place: both are found where the log should go on.
        &[(5, "hash_mismatch")],
    ),
    (
        "an event repeated",
        |lines| {
            let index = at(lines, 5);
            lines.insert(index, lines[index].clone());
        },
        &[(5, "duplicate")],
    ),
    (
        "another log's event in place of ours",
        |lines| {
            let key = lines.iter().find(|line| line.starts_with("{\"key\"")).unwrap();
            let foreign = key.replacen("{\"key\"", "{\"event\"", 1);
            let index = at(lines, 5);
            lines[index] = foreign;
        },
        &[(5, "foreign_tenant")],
    ),
    (
        "a document",
        |lines| {
            let index = lines
                .iter()
                .position(|line| line.starts_with("{\"document\""))
                .unwrap();
            lines[index] = lines[index].replace("true", "fals");
        },
        &[(4, "document_mismatch")],
    ),
    (
        "a document gone",
        |lines| lines.retain(|line| !line.starts_with("{\"document\"")),
        &[(4, "missing_document")],
    ),
    (
        "a line of something else",
        |lines| {
            let index = at(lines, 5);
            lines.insert(index, "{\"event\":7}".to_owned());
        },
        &[(5, "malformed")],
    ),
];

async fn exported(ledger: &TestLedger, path: &Path) {
    exported_from(ledger, path, 1).await;
}

async fn exported_from(ledger: &TestLedger, path: &Path, from: u64) {
    let keys = Keys::from_postgres(ledger.database.log(), Some(root()))
        .await
        .unwrap();
    let what = Export {
        tenant: ledger.tenant,
        from: Position(from),
        path,
        replace: false,
    };
    export(what, &ledger.reader, &head_notes(ledger), &keys, &())
        .await
        .unwrap();
}

fn verified(path: &Path, scope: &Scope) -> Vec<(TenantId, u64, String)> {
    found(&verify_file(path, Some(root()), scope, &()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_tampering_with_a_file_is_found_by_both_verifiers() {
    let (ledger, directory) = (ledger(12).await, tempfile::tempdir().unwrap());
    let path = directory.path().join("log.jsonl");
    exported(&ledger, &path).await;
    let note = head_notes(&ledger).note(ledger.tenant).await.unwrap();
    std::fs::write(directory.path().join("note"), note.as_str()).unwrap();
    assert_eq!(verified(&path, &scope(None)), []);
    let intact = std::fs::read_to_string(&path).unwrap();
    for (name, tamper, expected) in TAMPERINGS {
        let mut lines: Lines = intact.lines().map(str::to_owned).collect();
        tamper(&mut lines);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let found = verified(&path, &scope(None));
        let second = second_verifier(directory.path(), &root().to_string());
        assert_eq!(second.status.code(), Some(1), "{name}: {}", text(&second));
        for (position, kind) in *expected {
            let finding = (ledger.tenant, *position, (*kind).to_owned());
            assert!(found.contains(&finding), "{name}: {position} {kind} in {found:?}");
            assert!(
                text(&second).contains(kind),
                "{name}: {kind} in {}",
                text(&second)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_export_is_whole_by_itself_and_short_of_a_later_head_note() {
    let (ledger, directory) = (ledger(9).await, tempfile::tempdir().unwrap());
    let path = directory.path().join("log.jsonl");
    exported(&ledger, &path).await;
    append(&ledger, ledger.tenant, 9..12).await;
    let later = head_notes(&ledger).note(ledger.tenant).await.unwrap();
    assert_eq!(verified(&path, &scope(None)), []);
    let with_note = Scope {
        head_notes: vec![later.as_str().to_owned()],
        ..scope(None)
    };
    let expected = (ledger.tenant, 10, "missing_tail".to_owned());
    assert_eq!(verified(&path, &with_note), [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_for_a_position_before_an_export_is_refused_by_both_verifiers_not_taken_for_checked() {
    let (ledger, directory) = (ledger(5).await, tempfile::tempdir().unwrap());
    let path = directory.path().join("log.jsonl");
    let early = head_notes(&ledger).note(ledger.tenant).await.unwrap();
    std::fs::write(directory.path().join("note"), early.as_str()).unwrap();
    append(&ledger, ledger.tenant, 5..9).await;
    exported_from(&ledger, &path, 7).await;
    assert_eq!(verified(&path, &scope(None)), []);
    let with_note = Scope {
        head_notes: vec![early.as_str().to_owned()],
        ..scope(None)
    };
    let refused = verify_file(&path, Some(root()), &with_note, &()).unwrap_err();
    assert!(
        matches!(refused, AuditError::NoteBeforeExport { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("begins at position 7"), "{refused}");
    let second = second_verifier(directory.path(), &root().to_string());
    assert_eq!(second.status.code(), Some(2), "{}", text(&second));
}
