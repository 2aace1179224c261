//! `counterfoil secrets`: a value comes from stdin or a file, and never back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::up::{UpProcess, place, program, text};

/// The command with `value` on its stdin.
async fn fed(up: &UpProcess, arguments: &[&str], value: &str) -> Output {
    let mut command = program(&up.data);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let value = value.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_stored_listed_rotated_and_retired_and_their_values_are_never_said() {
    let (dir, data) = place();
    let up = UpProcess::start(&data).await;
    let made = up
        .post("/v1/organisations", json!({"kind": "company", "name": "Example"}))
        .await;
    let tenant = made["home_tenant"].as_str().unwrap().to_owned();
    let at = ["--tenant", tenant.as_str()];
    let with = |words: &[&'static str]| [words, &at].concat();

    let none = up.run(&with(&["secrets", "list"])).await;
    assert!(text(&none).contains("no secrets in use"), "{}", text(&none));
    let create = with(&["secrets", "create", "feed", "--purpose", "source-credential"]);
    let empty = fed(&up, &create, "\n").await;
    assert_eq!(empty.status.code(), Some(2), "{}", text(&empty));
    let stored = fed(&up, &create, "zq7-noun-first\n").await;
    assert_eq!(stored.status.code(), Some(0), "{}", text(&stored));
    let file = dir.path().join("second");
    std::fs::write(&file, "zq7-noun-second\n").unwrap();
    let path = file.to_str().unwrap();
    let rotate = [&with(&["secrets", "rotate", "feed"])[..], &["--file", path]].concat();
    let rotated = up.run(&rotate).await;
    assert_eq!(rotated.status.code(), Some(0), "{}", text(&rotated));
    let listed = up.run(&with(&["secrets", "list", "--json"])).await;
    let items: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (&items[0]["id"], &items[0]["purpose"], &items[0]["version"]),
        (&json!("feed"), &json!("source_credential"), &json!(2))
    );
    let shown = up.run(&with(&["secrets", "list"])).await;
    assert!(text(&shown).contains("feed"), "{}", text(&shown));
    let retired = up
        .run(&with(&[
            "secrets",
            "retire",
            "feed",
            "--reason",
            "account_closed",
        ]))
        .await;
    assert_eq!(retired.status.code(), Some(0), "{}", text(&retired));
    let gone = up.run(&with(&["secrets", "list"])).await;
    assert!(text(&gone).contains("no secrets in use"), "{}", text(&gone));
    for output in [stored, rotated, listed, shown, retired] {
        assert!(!text(&output).contains("zq7-noun"), "{}", text(&output));
    }
    let help = up.run(&["secrets", "create", "--help"]).await;
    assert!(
        !text(&help).contains("--value"),
        "no value on a command line: {}",
        text(&help)
    );
    up.interrupt().await;
}
