//! Rotation of the signing key: nobody loses a request, nobody goes on with the old key, and every verifier follows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use counterfoil::audit::{Export, Keys, export, verify_file};
use counterfoil::signing::{self, KeyFile, Rotated};
use counterfoil_events::ids::{KeyId, Position, TenantId};
use counterfoil_events::ledger::{AppendError, Database, Sequencer, SequencerOptions};
use counterfoil_events::signature::Signer;
use counterfoil_events::timestamp::SystemClock;
use serde_json::{Value, json};

use crate::audit::support::{audit, head_notes, root, scope, second_verifier, signer, tamper};
use crate::support::installation::Installation;
use crate::support::kms::key_file;
use crate::support::ledger::{TestLedger, request};
use crate::support::up::{UpProcess, place, text};

/// A process on the ledger's database, with the keys of a machine.
pub async fn process(ledger: &TestLedger, file: &KeyFile) -> Sequencer {
    Sequencer::new(
        Database::new(&ledger.options),
        file.current().await.unwrap(),
        Arc::new(SystemClock),
        SequencerOptions::default(),
    )
}

async fn keys(ledger: &TestLedger) -> Keys {
    Keys::from_postgres(ledger.database.log(), Some(root()))
        .await
        .unwrap()
}

pub async fn rotate(ledger: &TestLedger, sequencer: &Sequencer, file: &KeyFile) -> Rotated {
    let keys = keys(ledger).await;
    signing::rotate(sequencer, file, &keys.trusted).await.unwrap()
}

async fn append(sequencer: &Sequencer, tenant: TenantId) -> Result<KeyId, AppendError> {
    let id = uuid::Uuid::now_v7().to_string();
    let appended = sequencer.append(request(tenant, "thing", &id, 0)).await?;
    Ok(appended.receipts[0].key_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_busy_processes_take_each_new_key_and_lose_nothing() {
    let (ledger, directory) = (TestLedger::new().await, tempfile::tempdir().unwrap());
    let file = key_file(directory.path()).await;
    let processes = [process(&ledger, &file).await, process(&ledger, &file).await];
    let tenant = ledger.tenant;
    let busy = processes.iter().map(async |sequencer| {
        for _ in 0..60 {
            append(sequencer, tenant).await.unwrap();
        }
    });
    let rotating = async {
        let mut last = signer().public_key().id();
        for _ in 0..3 {
            let operator = process(&ledger, &file).await;
            let rotated = rotate(&ledger, &operator, &file).await;
            assert_eq!(rotated.previous_key_id, Some(last));
            last = rotated.key_id;
            operator.stop().await;
        }
        last
    };
    let (_, last) = tokio::join!(futures::future::join_all(busy), rotating);
    for sequencer in &processes {
        assert_eq!(append(sequencer, tenant).await.unwrap(), last);
    }
    assert_eq!(file.load().await.unwrap().public_key().id(), last);
    assert_eq!(audit(&ledger).await, []);
    assert_eq!(ledger.events(tenant).await.len(), 122);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_not_got_the_new_key_appends_nothing_until_it_has() {
    let (ledger, directory) = (TestLedger::new().await, tempfile::tempdir().unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let (file, their_file) = (key_file(directory.path()).await, key_file(elsewhere.path()).await);
    let (ours, theirs) = (process(&ledger, &file).await, process(&ledger, &their_file).await);
    append(&theirs, ledger.tenant).await.unwrap();
    let rotated = rotate(&ledger, &ours, &file).await;
    let refused = append(&theirs, ledger.tenant).await.unwrap_err();
    let AppendError::KeySuperseded { ours: old, current } = refused else {
        panic!("{refused}");
    };
    assert_eq!((old, current), (signer().public_key().id(), rotated.key_id));
    let platform = append(&theirs, TenantId::PLATFORM).await;
    assert!(
        matches!(platform, Err(AppendError::KeySuperseded { .. })),
        "{platform:?}"
    );
    assert_eq!(ledger.events(ledger.tenant).await.len(), 1);

    // An operator copies the new key there; no restart is needed.
    std::fs::copy(file.path(), their_file.path()).unwrap();
    assert_eq!(append(&theirs, ledger.tenant).await.unwrap(), rotated.key_id);
    assert_eq!(audit(&ledger).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_prepared_or_cut_off_is_completed_by_whoever_comes_next() {
    let (ledger, directory) = (TestLedger::new().await, tempfile::tempdir().unwrap());
    let (elsewhere, cut_off) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = [
        key_file(directory.path()).await,
        key_file(elsewhere.path()).await,
        key_file(cut_off.path()).await,
    ];
    let next = files[0].prepare().await.unwrap().public_key().id();
    for other in &files[1..] {
        std::fs::copy(files[0].next_path(), other.next_path()).unwrap();
    }
    let (ours, theirs) = (
        process(&ledger, &files[0]).await,
        process(&ledger, &files[1]).await,
    );
    let rotated = rotate(&ledger, &ours, &files[0]).await;
    assert_eq!(rotated.key_id, next, "the prepared key");
    assert_eq!(append(&theirs, ledger.tenant).await.unwrap(), next);
    assert!(!files[1].next_path().exists());

    // As after a crash between the event and the file: the same command goes on, and makes no second key.
    let operator = process(&ledger, &files[2]).await;
    let again = rotate(&ledger, &operator, &files[2]).await;
    assert_eq!((again.key_id, again.position), (next, rotated.position));
    assert!(!files[2].next_path().exists());
    assert_eq!(keys(&ledger).await.events.len(), 2);
    assert_eq!(audit(&ledger).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_across_rotations_verify_and_a_key_that_comes_back_is_found_by_both_verifiers() {
    let (ledger, directory) = (TestLedger::new().await, tempfile::tempdir().unwrap());
    let file = key_file(directory.path()).await;
    let sequencer = process(&ledger, &file).await;
    for _ in 0..2 {
        append(&sequencer, ledger.tenant).await.unwrap();
        rotate(&ledger, &sequencer, &file).await;
        append(&sequencer, ledger.tenant).await.unwrap();
    }
    append(&sequencer, TenantId::PLATFORM).await.unwrap();
    for tenant in [ledger.tenant, TenantId::PLATFORM] {
        assert_eq!(exported(&ledger, directory.path(), tenant).await, "");
    }

    // An insider who kept the first key signs an event with it: in its place, chained, as if genuine.
    let old = signer();
    for (tenant, position) in [(ledger.tenant, 4), (TenantId::PLATFORM, 5)] {
        let event = ledger.events(tenant).await.swap_remove(position - 1).recorded;
        let (key, signature) = (old.public_key().id(), old.sign(&event.hash));
        let sign = format!(
            "UPDATE counterfoil.events SET key_id = '\\x{key}', signature = '\\x{signature}' \
             WHERE tenant_id = '{tenant}' AND position = {position}"
        );
        tamper(&ledger, &sign).await;
        let expected = (tenant, position as u64, "key_superseded".to_owned());
        assert!(
            audit(&ledger).await.contains(&expected),
            "{:?}",
            audit(&ledger).await
        );
        let said = exported(&ledger, directory.path(), tenant).await;
        assert!(said.contains(&format!("{position} key_superseded")), "{said}");
    }
    assert_eq!(audit(&ledger).await.len(), 2, "one finding each");
}

/// Exports a log; answers what the second verifier finds in it, and checks that ours finds as many.
async fn exported(ledger: &TestLedger, directory: &Path, tenant: TenantId) -> String {
    let path = directory.join("log.jsonl");
    let _none_yet = std::fs::remove_file(&path);
    let what = Export {
        tenant,
        from: Position(1),
        path: &path,
        replace: false,
    };
    let keys = keys(ledger).await;
    export(what, &ledger.reader, &head_notes(ledger), &keys, &())
        .await
        .unwrap();
    let ours = verify_file(&path, Some(root()), &scope(None), &()).unwrap();
    std::fs::write(
        directory.join("note"),
        head_notes(ledger).note(tenant).await.unwrap().as_str(),
    )
    .unwrap();
    let theirs = second_verifier(directory, &root().to_string());
    let said = String::from_utf8(theirs.stdout).unwrap();
    let findings: String = said.lines().filter(|line| line.starts_with("finding")).collect();
    assert_eq!(ours.findings.is_empty(), findings.is_empty(), "{said}");
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_up_takes_the_new_key_without_a_restart() {
    let (_dir, data) = place();
    let up = UpProcess::start(&data).await;
    let organisation = json!({"kind": "company", "name": "Example"});
    up.post("/v1/organisations", organisation.clone()).await;
    let before = std::fs::read(data.join("signing.key")).unwrap();
    let rotated = up.run(&["keys", "rotate", "--json"]).await;
    assert_eq!(rotated.status.code(), Some(0), "{}", text(&rotated));
    let rotated: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    let key = data.join("signing.key");
    assert_ne!(std::fs::read(&key).unwrap(), before);
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let made = up.post("/v1/organisations", organisation.clone()).await;
    assert_eq!(made["receipts"][0]["key_id"], rotated["key_id"]);
    let listed = up.run(&["keys", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["fingerprint"], up.fingerprint.as_str());
    assert_eq!(
        (&listed[0]["current"], &listed[1]["current"]),
        (&false.into(), &true.into())
    );
    assert_eq!(listed[1]["key_id"], rotated["key_id"]);
    let people = up.run(&["keys", "list"]).await;
    assert!(
        text(&people).contains("followed") && text(&people).contains("signs"),
        "{}",
        text(&people)
    );
    let fingerprint = up.fingerprint.clone();
    up.interrupt().await;

    let up = UpProcess::start(&data).await;
    assert_eq!(up.fingerprint, fingerprint, "an auditor's fingerprint stays");
    up.post("/v1/organisations", organisation).await;
    up.until_good(&["audit", "verify", "--root", &fingerprint]).await;
    up.until_good(&["audit", "reconcile"]).await;
    up.interrupt().await;
}

#[tokio::test]
async fn a_lost_secret_is_named_by_init_and_never_replaced() {
    let installation = Installation::new().await;
    let secrets = [
        installation.config.auth.key_pepper_file.clone(),
        installation.config.signing.key_file.clone(),
    ];
    for path in secrets {
        let kept = std::fs::read(&path).unwrap();
        std::fs::rename(&path, path.with_extension("away")).unwrap();
        let output = installation.run(&["init"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("is missing: restore it"), "{said}");
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(!path.exists());
        std::fs::rename(path.with_extension("away"), &path).unwrap();
        installation.good(&["init"]).await;
        assert_eq!(std::fs::read(&path).unwrap(), kept);
    }
}

#[tokio::test]
async fn a_signing_key_in_the_clear_is_refused_until_it_is_imported() {
    let installation = Installation::new().await;
    let path = installation.config.signing.key_file.clone();
    let sealed = std::fs::read(&path).unwrap();
    let clear = installation.directory().join("clear.key");
    let write = |path: &Path| {
        std::fs::write(path, "07".repeat(32)).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&clear);
    let said = async |arguments: &[&str]| {
        let output = installation.run(arguments).await;
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let clear_path = clear.to_str().unwrap();
    let (code, taken) = said(&["keys", "import", clear_path]).await;
    assert_eq!(code, Some(2), "{taken}");
    assert!(taken.contains("holds another signing key already"), "{taken}");

    write(&path);
    for command in [
        &["init"][..],
        &["serve"],
        &["keys", "rotate"],
        &["backup", "--out", "kept"],
    ] {
        let (code, unsealed) = said(command).await;
        assert_ne!(code, Some(0), "{command:?}: {unsealed}");
        assert!(
            unsealed.contains("is not sealed: seal it with"),
            "{command:?}: {unsealed}"
        );
    }
    let imported = installation
        .good(&["keys", "import", path.to_str().unwrap(), "--json"])
        .await;
    let imported: Value = serde_json::from_str(&imported).unwrap();
    assert_eq!(imported["key_id"], signer().public_key().id().to_string());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&"07".repeat(32)), "{text}");
    // It was not this log's key, of course.
    let (_, foreign) = said(&["init"]).await;
    assert!(foreign.contains("is not in the log's keyring"), "{foreign}");
    std::fs::write(&path, sealed).unwrap();
    installation.good(&["init"]).await;
}
