//! `counterfoil audit …` as a process: exit codes, what people and machines read, and the file that an auditor takes away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::support::{ledger, root, second_verifier, tamper};
use crate::support::binary::binary;
use crate::support::kms::{key_file, shared_kms};
use crate::support::ledger::TestLedger;

async fn run(ledger: &TestLedger, directory: &Path, arguments: &[&str]) -> Output {
    let key = key_file(directory).await;
    let mut command = Command::new(binary());
    if !["replay", "backup"].contains(&arguments[0]) {
        command.arg("audit");
    }
    command
        .args(arguments)
        .current_dir(directory)
        .env_remove("COUNTERFOIL_CONFIG")
        .env_remove("COUNTERFOIL_ROOT_FINGERPRINT")
        .env("COUNTERFOIL_POSTGRES__HOST", ledger.admin.get_host())
        .env("COUNTERFOIL_POSTGRES__PORT", ledger.admin.get_port().to_string())
        .env(
            "COUNTERFOIL_POSTGRES__DATABASE",
            ledger.admin.get_database().unwrap(),
        )
        .env("COUNTERFOIL_POSTGRES__TLS", "disable")
        .env("COUNTERFOIL_POSTGRES__LOG_PASSWORD", "only-for-tests")
        .env("COUNTERFOIL_POSTGRES__READER_PASSWORD", "only-for-tests")
        .env("COUNTERFOIL_VAULT__SOCKET", shared_kms())
        .env("COUNTERFOIL_SIGNING__KEY_FILE", key.path());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn verify_exits_0_on_an_intact_log_and_1_naming_tenant_position_and_kind() {
    let (ledger, directory) = (ledger(12).await, tempfile::tempdir().unwrap());
    let good = run(
        &ledger,
        directory.path(),
        &["verify", "--root", &root().to_string()],
    )
    .await;
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    assert!(
        text(&good).contains("14 events of 2 logs in postgres") && text(&good).contains("nothing is wrong")
    );

    tamper(&ledger, "UPDATE counterfoil.events SET envelope = replace(envelope, '\"x\"', '\"y\"') WHERE tenant_id = $tenant AND position = 5").await;
    let bad = run(&ledger, directory.path(), &["verify"]).await;
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    let line = text(&bad);
    let line = line.lines().find(|line| line.contains("hash_mismatch")).unwrap();
    assert!(
        line.contains(&ledger.tenant.to_string()) && line.contains(" 5 "),
        "{line}"
    );
    assert!(text(&bad).contains("compare it with the one you were given"));

    let machine = run(
        &ledger,
        directory.path(),
        &["verify", "--json", "--tenant", &ledger.tenant.to_string()],
    )
    .await;
    assert_eq!(machine.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&machine.stdout).unwrap();
    assert_eq!(answer["findings"]["kept"][0]["kind"], "hash_mismatch");
    assert_eq!(answer["findings"]["kept"][0]["position"], 5);
    assert_eq!(answer["findings"]["counts"]["hash_mismatch"], 1);
    assert_eq!(answer["logs"][0]["tenant"], ledger.tenant.to_string());
}

#[tokio::test]
async fn a_log_that_ends_before_what_was_to_be_verified_is_a_finding() {
    let (ledger, directory) = (ledger(3).await, tempfile::tempdir().unwrap());
    let tenant = ledger.tenant.to_string();
    let from = |position| {
        let arguments = ["verify", "--tenant", &tenant, "--from", position].map(str::to_owned);
        let (ledger, directory) = (&ledger, directory.path());
        async move { run(ledger, directory, &arguments.each_ref().map(String::as_str)).await }
    };
    // Nothing has come since, which is no damage.
    let whole = from("4").await;
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole));
    let beyond = from("5").await;
    assert_eq!(beyond.status.code(), Some(1), "{}", text(&beyond));
    assert!(
        text(&beyond).contains("the log ends at position 3"),
        "{}",
        text(&beyond)
    );
}

#[tokio::test]
async fn an_export_is_verified_without_any_server_and_a_flipped_byte_in_it_found() {
    let (ledger, directory) = (ledger(12).await, tempfile::tempdir().unwrap());
    let tenant = ledger.tenant.to_string();
    let exported = run(
        &ledger,
        directory.path(),
        &["export", "--tenant", &tenant, "--out", "log.jsonl"],
    )
    .await;
    assert_eq!(exported.status.code(), Some(0), "{}", text(&exported));
    assert!(text(&exported).contains("12 events") && text(&exported).contains(&root().to_string()));
    let noted = run(
        &ledger,
        directory.path(),
        &["head-note", "--tenant", &tenant, "--out", "note"],
    )
    .await;
    assert_eq!(noted.status.code(), Some(0), "{}", text(&noted));

    let alone = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command
            .args(["audit", "verify", "--source", "log.jsonl"])
            .args(arguments)
            .current_dir(directory.path());
        command.output().unwrap()
    };
    let root = root().to_string();
    let good = alone(&["--root", &root, "--head-note", "note"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    assert!(
        text(&good).contains("12 events of 1 logs in log.jsonl"),
        "{}",
        text(&good)
    );
    assert_eq!(
        alone(&["--root", &"ab".repeat(32)]).status.code(),
        Some(1),
        "another root"
    );
    assert_eq!(
        alone(&["--tenant", &tenant]).status.code(),
        Some(2),
        "a file is verified whole"
    );

    let path = directory.path().join("log.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.replacen(r#"\"note\":\"x\""#, r#"\"note\":\"y\""#, 1)).unwrap();
    let bad = alone(&["--root", &root]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("hash_mismatch"), "{}", text(&bad));
    let second = second_verifier(directory.path(), &root);
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    assert!(text(&second).contains("hash_mismatch"), "{}", text(&second));
    std::fs::write(&path, "no export").unwrap();
    assert_eq!(alone(&["--root", &root]).status.code(), Some(1));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(alone(&["--root", &root]).status.code(), Some(2));
}

#[tokio::test]
async fn a_later_export_and_one_from_the_middle_verify_too() {
    let (ledger, directory) = (ledger(12).await, tempfile::tempdir().unwrap());
    let tenant = ledger.tenant.to_string();
    for from in ["1", "4", "12"] {
        let arguments = [
            "export",
            "--tenant",
            &tenant,
            "--out",
            "log.jsonl",
            "--from",
            from,
            "--force",
        ];
        let exported = run(&ledger, directory.path(), &arguments).await;
        assert_eq!(exported.status.code(), Some(0), "{}", text(&exported));
        let verified = run(&ledger, directory.path(), &["verify", "--source", "log.jsonl"]).await;
        assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    }
    assert!(!directory.path().join("log.jsonl.partial").exists());
    // What is there may be somebody's evidence.
    let there = std::fs::read(directory.path().join("log.jsonl")).unwrap();
    let again = run(
        &ledger,
        directory.path(),
        &["export", "--tenant", &tenant, "--out", "log.jsonl"],
    )
    .await;
    assert_eq!(again.status.code(), Some(2), "{}", text(&again));
    assert!(text(&again).contains("--force"), "{}", text(&again));
    assert_eq!(std::fs::read(directory.path().join("log.jsonl")).unwrap(), there);
    let beyond = run(
        &ledger,
        directory.path(),
        &["export", "--tenant", &tenant, "--out", "x", "--from", "13"],
    )
    .await;
    assert_eq!(beyond.status.code(), Some(2), "{}", text(&beyond));
    tamper(
        &ledger,
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position = 6",
    )
    .await;
    let damaged = run(
        &ledger,
        directory.path(),
        &["export", "--tenant", &tenant, "--out", "x"],
    )
    .await;
    assert_eq!(damaged.status.code(), Some(1), "{}", text(&damaged));
    assert!(!directory.path().join("x").exists() && !directory.path().join("x.partial").exists());
}

#[tokio::test]
async fn verify_is_unavailable_when_postgres_does_not_answer() {
    let (ledger, directory) = (ledger(1).await, tempfile::tempdir().unwrap());
    for arguments in [
        &["verify", "--set", "postgres.port=1"][..],
        &["backup", "--out", "x", "--set", "postgres.port=1"],
    ] {
        let output = run(&ledger, directory.path(), arguments).await;
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        let host = ledger.admin.get_host();
        let named = format!("Postgres at {host}:1 does not answer: ");
        assert!(text(&output).contains(&named), "{}", text(&output));
    }
}

#[tokio::test]
async fn an_export_to_stdout_is_the_file_and_nothing_else() {
    let (ledger, directory) = (ledger(12).await, tempfile::tempdir().unwrap());
    let tenant = ledger.tenant.to_string();
    for more in [&[][..], &["--json"]] {
        let arguments = [&["export", "--tenant", &tenant, "--out", "-"], more].concat();
        let exported = run(&ledger, directory.path(), &arguments).await;
        assert_eq!(exported.status.code(), Some(0), "{}", text(&exported));
        let aside = String::from_utf8(exported.stderr).unwrap();
        assert!(aside.contains(&root().to_string()), "{aside}");
        std::fs::write(directory.path().join("log.jsonl"), exported.stdout).unwrap();
        let arguments = ["verify", "--source", "log.jsonl", "--root", &root().to_string()];
        let verified = run(&ledger, directory.path(), &arguments).await;
        assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    }
    assert!(!directory.path().join("-").exists() && !directory.path().join("-.partial").exists());
}

#[tokio::test]
async fn a_backup_of_an_altered_log_is_written_and_says_what_is_wrong() {
    let (ledger, directory) = (ledger(12).await, tempfile::tempdir().unwrap());
    let good = run(
        &ledger,
        directory.path(),
        &["backup", "--out", "good", "--without-key"],
    )
    .await;
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));

    tamper(&ledger, "UPDATE counterfoil.events SET envelope = replace(envelope, '\"x\"', '\"y\"') WHERE tenant_id = $tenant AND position = 5").await;
    tamper(
        &ledger,
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position = 8",
    )
    .await;
    let bad = run(
        &ledger,
        directory.path(),
        &["backup", "--out", "bad", "--without-key", "--json"],
    )
    .await;
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    let told = String::from_utf8_lossy(&bad.stderr);
    let tenant = ledger.tenant;
    for finding in [
        format!("tenant {tenant} position 5: hash_mismatch"),
        format!("tenant {tenant} position 8: gap"),
    ] {
        assert!(told.contains(&finding), "{told}");
    }
    let answer: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(answer["findings"]["counts"]["hash_mismatch"], 1, "{answer}");
    assert_eq!(answer["findings"]["counts"]["gap"], 1, "{answer}");
    // The evidence is kept: what was altered is in the backup as it stands.
    let events =
        |backup: &str| std::fs::read_to_string(directory.path().join(backup).join("events.copy")).unwrap();
    assert_eq!(events("good").lines().count(), events("bad").lines().count() + 1);
    assert!(directory.path().join("bad/manifest.json").exists());
}

#[tokio::test]
async fn a_backup_is_checked_beyond_its_events_up_to_where_each_head_stands() {
    let (ledger, directory) = (ledger(12).await, tempfile::tempdir().unwrap());
    tamper(
        &ledger,
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant AND position > 10",
    )
    .await;
    let arguments = ["backup", "--out", "cut", "--without-key"];
    let cut = run(&ledger, directory.path(), &arguments).await;
    assert_eq!(cut.status.code(), Some(1), "{}", text(&cut));
    assert!(text(&cut).contains("position 11: missing_tail"), "{}", text(&cut));
    tamper(
        &ledger,
        "DELETE FROM counterfoil.events WHERE tenant_id = $tenant",
    )
    .await;
    let arguments = ["backup", "--out", "empty", "--without-key"];
    let empty = run(&ledger, directory.path(), &arguments).await;
    assert_eq!(empty.status.code(), Some(1), "{}", text(&empty));
    assert!(
        text(&empty).contains("position 1: missing_tail"),
        "{}",
        text(&empty)
    );
}

#[tokio::test]
async fn replay_prints_states_for_people_and_machines_and_cross_checks() {
    let (ledger, directory) = (
        super::replay::ledger_with_every_event().await,
        tempfile::tempdir().unwrap(),
    );
    let tenant = ledger.tenant.to_string();
    let whole = run(
        &ledger,
        directory.path(),
        &["replay", "--tenant", &tenant, "--cross-check"],
    )
    .await;
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole));
    assert!(
        text(&whole).contains("postgres-es arrives at the same 17 states"),
        "{}",
        text(&whole)
    );
    let one = ["replay", "--tenant", &tenant, "--aggregate", "agent/one"];
    let people = run(&ledger, directory.path(), &one).await;
    assert!(
        text(&people).contains("AgentRegistered") && text(&people).contains("after event 8"),
        "{}",
        text(&people)
    );
    let machines = run(
        &ledger,
        directory.path(),
        &[&one[..], &["--json", "--as-of", "14"]].concat(),
    )
    .await;
    let line: Value = serde_json::from_slice(&machines.stdout).unwrap();
    assert_eq!(
        (&line["sequence"], &line["events"][1]["type"]),
        (&2.into(), &"AgentChanged".into())
    );
    assert!(line.get("log_ended_before").is_none(), "{line}");
    for beyond in ["5000", "2126-01-01T00:00:00Z"] {
        let machines = run(
            &ledger,
            directory.path(),
            &[&one[..], &["--json", "--as-of", beyond]].concat(),
        )
        .await;
        assert_eq!(machines.status.code(), Some(0), "{}", text(&machines));
        let line: Value = serde_json::from_slice(&machines.stdout).unwrap();
        let end = line["log_ended_before"]["position"].as_u64().unwrap();
        assert!(line["log_ended_before"]["recorded_at"].is_string(), "{line}");
        let told = String::from_utf8_lossy(&machines.stderr);
        let told_of = format!("the log of {tenant} ends before that, at position {end} of 2");
        assert!(told.contains(&told_of), "{told}");
    }
    for (arguments, code) in [
        (
            &["replay", "--tenant", &tenant, "--aggregate", "agent/nobody"][..],
            2,
        ),
        (&["replay", "--tenant", &tenant, "--as-of", "yesterday"], 2),
        (
            &["replay", "--tenant", &tenant, "--as-of", "3", "--cross-check"],
            2,
        ),
    ] {
        let output = run(&ledger, directory.path(), arguments).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?} {}",
            text(&output)
        );
    }
}
