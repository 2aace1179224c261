//! `counterfoil up` as a process: what a second start finds, what a crash leaves, and that other commands need no
//! configuration written by hand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::binary::{binary, descendants, wait_until_gone};
use crate::support::up::{UpProcess, place, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_up_leaves_no_process_and_the_next_start_finds_everything() {
    let (_dir, data) = place();
    let up = UpProcess::start(&data).await;
    let (tenant, agent, key) = up.with_an_agent().await;
    up.complete(&key).await;
    let (token, fingerprint, family) = (up.token.clone(), up.fingerprint.clone(), descendants(up.pid()));
    assert!(family.len() > 3, "three servers, and Postgres's own: {family:?}");
    drop(up); // kill -9
    wait_until_gone(&family);

    let up = UpProcess::start(&data).await;
    assert_eq!((&up.token, &up.fingerprint), (&token, &fingerprint));
    up.complete(&key).await;
    let path = format!("/v1/tenants/{tenant}/agents/{agent}");
    // Killed before its read models had followed, it goes on with them now.
    let began = std::time::Instant::now();
    let mut found = up.send(Method::GET, &path, None).await;
    while found.0 == 404 && began.elapsed().as_secs() < 60 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        found = up.send(Method::GET, &path, None).await;
    }
    let (status, answer) = found;
    assert!(status.is_success() && answer["name"] == "helper", "{answer}");
    let family = descendants(up.pid());
    up.interrupt().await;
    wait_until_gone(&family);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_finds_a_running_up_by_its_directory_alone() {
    let (dir, data) = place();
    let up = UpProcess::start(&data).await;
    let made = up
        .post("/v1/organisations", json!({"kind": "company", "name": "Example"}))
        .await;
    let tenant = made["home_tenant"].as_str().unwrap();
    up.until_good(&["audit", "reconcile"]).await;
    up.until_good(&["projections", "diff", "--all"]).await;
    for arguments in [
        &["status"][..],
        &["audit", "verify"],
        &["audit", "verify", "--source", "jetstream"],
        &[
            "audit",
            "export",
            "--tenant",
            "00000000-0000-0000-0000-000000000000",
            "--out",
            "platform.jsonl",
        ],
        &[
            "audit",
            "head-note",
            "--tenant",
            "00000000-0000-0000-0000-000000000000",
        ],
        &[
            "replay",
            "--tenant",
            "00000000-0000-0000-0000-000000000000",
            "--cross-check",
        ],
        &["projections", "list"],
        &["projections", "rebuild", "tenant"],
        &["projections", "parked"],
        &["backup", "--out", "kept"],
    ] {
        let output = up.run(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
    }
    // The same where nothing is named at all, in the directory in which `up` was started without a word.
    let usual = dir.path().join("home/.counterfoil");
    std::fs::create_dir_all(&usual).unwrap();
    std::os::unix::fs::symlink(&data, usual.join("data")).unwrap();
    let mut bare = std::process::Command::new(binary());
    bare.args(["audit", "verify"])
        .current_dir(dir.path().join("home"));
    for ours in [
        "COUNTERFOIL_DATA",
        "COUNTERFOIL_CONFIG",
        "COUNTERFOIL_ROOT_FINGERPRINT",
    ] {
        bare.env_remove(ours);
    }
    let output = tokio::task::spawn_blocking(move || bare.output().unwrap())
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    up.interrupt().await;

    // Its servers have ended with it: each command names what does not answer, and how it is started.
    let restart = format!("counterfoil up --data {}", data.display());
    for (arguments, silent) in [
        (
            &["audit", "verify", "--tenant", tenant][..],
            "Postgres at 127.0.0.1:",
        ),
        (&["projections", "list"], "Postgres at 127.0.0.1:"),
        (&["keys", "list"], "Postgres at 127.0.0.1:"),
        (&["kms", "rewrap"], "Postgres at 127.0.0.1:"),
    ] {
        let stopped = run(&data, arguments).await;
        assert_eq!(stopped.status.code(), Some(3), "{}", text(&stopped));
        let said = text(&stopped);
        assert!(
            said.contains(silent) && said.contains(&restart),
            "{arguments:?}: {said}"
        );
    }
    let stopped = run(&data, &["status"]).await;
    assert!(
        text(&stopped).contains("Is `counterfoil up`"),
        "{}",
        text(&stopped)
    );
}

/// The process id that `up` remembers of its key process.
fn key_process(data: &Path) -> Option<i32> {
    let text = std::fs::read(data.join("run/kms.json")).ok()?;
    let remembered: Value = serde_json::from_slice(&text).ok()?;
    i32::try_from(remembered["pid"].as_i64()?).ok()
}

/// Gives the secret another value, as soon as the vault can.
async fn rotate(up: &UpProcess, path: &str) {
    let began = std::time::Instant::now();
    loop {
        let (status, answer) = up
            .send(Method::PUT, path, Some(json!({"value": "another"})))
            .await;
        if status.is_success() {
            return;
        }
        assert!(began.elapsed().as_secs() < 60, "{status} {answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_work_out_of_the_box_and_the_key_process_is_owned_like_every_server() {
    let (_dir, data) = place();
    let up = UpProcess::start(&data).await;
    let kek = data.join("kms/kek-1.key");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kek), mode(&data.join("kms"))), (0o600, 0o700));
    let sealed = std::fs::read_to_string(data.join("signing.key")).unwrap();
    assert!(sealed.contains("\"kek\": \"local/1\""), "{sealed}");
    let (_, ready) = up.send(Method::GET, "/ready", None).await;
    assert_eq!(ready["components"]["kms"]["health"], "ok", "{ready}");

    let made = up
        .post("/v1/organisations", json!({"kind": "company", "name": "Example"}))
        .await;
    let secrets = format!("/v1/tenants/{}/secrets", made["home_tenant"].as_str().unwrap());
    let secret = json!({"name": "feed", "purpose": "source_credential", "value": "one"});
    up.post(&secrets, secret).await;
    let path = format!("{secrets}/feed");

    let first = key_process(&data).unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let began = std::time::Instant::now();
    while key_process(&data).is_none_or(|pid| pid == first) {
        assert!(began.elapsed().as_secs() < 60, "it is started again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    rotate(&up, &path).await;
    let family = descendants(up.pid());
    assert!(family.contains(&u32::try_from(key_process(&data).unwrap()).unwrap()));
    drop(up); // kill -9
    wait_until_gone(&family);

    // A process that has never seen the key asks for it.
    let up = UpProcess::start(&data).await;
    rotate(&up, &path).await;
    let (_, listed) = up.send(Method::GET, &secrets, None).await;
    assert_eq!(listed["items"][0]["version"], 3, "{listed}");
    up.interrupt().await;

    // A key-encryption key that is gone is missed, and not replaced.
    let away = data.join("away.key");
    std::fs::rename(&kek, &away).unwrap();
    let refused = run(&data, &["up", "--json", "--port", "0"]).await;
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(
        text(&refused).contains("was made once and is gone"),
        "{}",
        text(&refused)
    );
    assert!(!kek.exists());
    std::fs::rename(&away, &kek).unwrap();
    let up = UpProcess::start(&data).await;
    rotate(&up, &path).await;
    up.interrupt().await;
}
