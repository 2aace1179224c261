//! Backups as an operator makes and needs them: taken while the system runs, everything or only the database lost, put
//! back, proven, gone on from.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::up::{UpProcess, place, run, spec_card, text};

/// What an operator keeps apart from backups: the key-encryption key.
fn escrow(data: &Path, safe: &Path) {
    std::fs::copy(data.join("kms/kek-1.key"), safe.join("kek-1.key")).unwrap();
}

fn bring_back(safe: &Path, data: &Path) {
    std::fs::create_dir_all(data.join("kms")).unwrap();
    std::fs::copy(safe.join("kek-1.key"), data.join("kms/kek-1.key")).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = dir.read_dir().unwrap().map(name).collect();
    names.sort();
    names
}

fn manifest(backup: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(backup.join("manifest.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_lost_and_restored_and_the_log_goes_on() {
    let (dir, data) = place();
    let up = UpProcess::start(&data).await;
    let (tenant, agent, key) = up.with_an_agent().await;
    up.complete(&key).await;
    let taken = up.run(&["backup", "--out", "kept", "--json"]).await;
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken));
    let backup = dir.path().join("kept");
    let logs = manifest(&backup)["logs"].as_array().unwrap().len();
    assert_eq!(logs, 2, "the platform's and the tenant's");
    let again = up.run(&["backup", "--out", "kept"]).await;
    assert_eq!(
        again.status.code(),
        Some(2),
        "never over another: {}",
        text(&again)
    );
    let fingerprint = up.fingerprint.clone();
    up.interrupt().await;
    escrow(&data, dir.path());
    std::fs::remove_dir_all(&data).unwrap();

    // Without the key-encryption key, or by another, nothing of it opens; and nothing is made.
    let shut = run(&data, &["restore", "kept", "--root", &fingerprint]).await;
    assert_eq!(shut.status.code(), Some(2), "{}", text(&shut));
    assert!(
        text(&shut).contains("does not open by this KMS") && text(&shut).contains("kek-1.key is not there"),
        "{}",
        text(&shut)
    );
    assert!(!data.exists(), "a refused restore leaves nothing");
    bring_back(dir.path(), &data);
    let right = std::fs::read(data.join("kms/kek-1.key")).unwrap();
    std::fs::write(data.join("kms/kek-1.key"), "ab".repeat(32)).unwrap();
    let shut = run(&data, &["restore", "kept"]).await;
    assert_eq!(shut.status.code(), Some(2), "{}", text(&shut));
    assert!(text(&shut).contains("does not open"), "{}", text(&shut));
    assert_eq!(names(&data), ["kms"]);
    assert_eq!(names(&data.join("kms")), ["kek-1.key"]);
    std::fs::write(data.join("kms/kek-1.key"), right).unwrap();
    // Held to the root of another log, nothing is loaded: the next try begins where this one did.
    let shut = run(&data, &["restore", "kept", "--root", &"1".repeat(64)]).await;
    assert_eq!(shut.status.code(), Some(2), "{}", text(&shut));
    assert!(
        text(&shut).contains("One of the two is another log's"),
        "{}",
        text(&shut)
    );
    assert_eq!(names(&data), ["kms"]);
    let restored = run(&data, &["restore", "kept", "--root", &fingerprint]).await;
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored));
    assert!(
        text(&restored).contains("nothing is wrong") && text(&restored).contains("of 1 tenants"),
        "{}",
        text(&restored)
    );
    let twice = run(&data, &["restore", "kept"]).await;
    assert_eq!(twice.status.code(), Some(2), "never over a log: {}", text(&twice));
    assert!(text(&twice).contains("holds a log already"), "{}", text(&twice));

    // What it says is next can be done as it stands, before any `up` has run there.
    let steps = next_steps(&restored);
    assert_eq!(steps.len(), 2, "{steps:?}");
    let place = format!("--data {}", data.display());
    assert_eq!(steps[1], format!("up {place}"));
    let first = steps[0].strip_suffix(&format!(" {place}")).unwrap();
    let arguments: Vec<&str> = first.split(' ').collect();
    assert_eq!(arguments, ["audit", "reconcile", "--repair"]);
    let mended = run(&data, &arguments).await;
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended));

    let up = UpProcess::start(&data).await;
    assert_eq!(up.fingerprint, fingerprint);
    // JetStream was empty: it is refilled from Postgres, exactly.
    up.until_good(&["audit", "reconcile"]).await;
    up.complete(&key).await;
    let mut card = spec_card();
    card["name"] = "after the restore".into();
    let path = format!("/v1/tenants/{tenant}/agents/{agent}");
    let (status, answer) = up.send(Method::PUT, &path, Some(card)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    up.until_good(&["audit", "verify", "--root", &fingerprint]).await;
    up.until_good(&["audit", "reconcile"]).await;
    let same = up.until_good(&["projections", "diff", "--all"]).await;
    assert!(same.stdout.is_empty(), "{}", text(&same));
    up.interrupt().await;
}

/// The commands that a restore prints, without the program's name.
fn next_steps(restored: &std::process::Output) -> Vec<String> {
    let printed = String::from_utf8(restored.stdout.clone()).unwrap();
    let steps = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  counterfoil "));
    steps.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_stream_has_is_put_back_before_an_up_runs_on_what_was_restored() {
    let (_dir, data) = place();
    let up = UpProcess::start(&data).await;
    let (_, _, key) = up.with_an_agent().await;
    let taken = up.run(&["backup", "--out", "kept"]).await;
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken));
    up.complete(&key).await;
    up.until_good(&["audit", "reconcile"]).await;
    let before = up.run(&["audit", "verify", "--json"]).await;
    let before: Value = serde_json::from_slice(&before.stdout).unwrap();
    up.interrupt().await;
    std::fs::remove_dir_all(data.join("postgres")).unwrap();
    let restored = run(&data, &["restore", "kept"]).await;
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored));
    let mended = run(&data, &["audit", "reconcile", "--repair"]).await;
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended));
    assert!(text(&mended).contains("2 events put back"), "{}", text(&mended));

    let up = UpProcess::start(&data).await;
    let after = up.run(&["audit", "verify", "--json"]).await;
    let after: Value = serde_json::from_slice(&after.stdout).unwrap();
    assert_eq!(after["logs"][1]["hash"], before["logs"][1]["hash"]);
    up.complete(&key).await;
    up.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_behind_the_stream_is_quarantined_and_mended_from_it() {
    let (_dir, data) = place();
    let up = UpProcess::start(&data).await;
    let (tenant, _, key) = up.with_an_agent().await;
    let taken = up.run(&["backup", "--out", "kept"]).await;
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken));
    for _ in 0..3 {
        up.complete(&key).await;
    }
    up.until_good(&["audit", "reconcile"]).await;
    let before = up.run(&["audit", "verify", "--json"]).await;
    let before: Value = serde_json::from_slice(&before.stdout).unwrap();
    up.interrupt().await;
    std::fs::remove_dir_all(data.join("postgres")).unwrap();

    let restored = run(&data, &["restore", "kept"]).await;
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored));
    let up = UpProcess::start(&data).await;
    up.until_ready().await;
    // The relay has compared stream and database by the time it says so; until then nothing is appended here.
    let behind = up.run(&["audit", "reconcile"]).await;
    assert_eq!(behind.status.code(), Some(1), "{}", text(&behind));
    assert!(
        text(&behind).contains("Postgres lacks 6 events (end:"),
        "{}",
        text(&behind)
    );
    let agents = format!("/v1/tenants/{tenant}/agents");
    quarantined(&up, &agents).await;
    let mended = up.run(&["audit", "reconcile", "--repair"]).await;
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended));
    let after = up.run(&["audit", "verify", "--json"]).await;
    let after: Value = serde_json::from_slice(&after.stdout).unwrap();
    assert_eq!(after["events"], before["events"]);
    assert_eq!(after["logs"][1]["hash"], before["logs"][1]["hash"]);
    up.post(&agents, spec_card()).await;
    up.until_good(&["audit", "reconcile"]).await;
    up.until_good(&["projections", "diff", "--all"]).await;
    up.interrupt().await;
}

/// Waits until a command of the tenant is refused because its copies disagree.
async fn quarantined(up: &UpProcess, path: &str) {
    for _ in 0..600 {
        let shown = up.run(&["audit", "reconcile"]).await;
        if text(&shown).contains("in quarantine") {
            let (status, answer) = up.send(Method::POST, path, Some(spec_card())).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the tenant is not put into quarantine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_up_is_backed_up_too_and_what_is_inside_is_for_its_owner_alone() {
    let (dir, data) = place();
    let up = UpProcess::start(&data).await;
    up.post("/v1/organisations", json!({"kind": "company", "name": "Example"}))
        .await;
    let events = up.run(&["audit", "verify", "--json"]).await;
    let events: Value = serde_json::from_slice(&events.stdout).unwrap();
    up.interrupt().await;
    let taken = run(&data, &["backup", "--out", "kept"]).await;
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken));
    assert!(
        text(&taken).contains("It holds the signing key"),
        "{}",
        text(&taken)
    );
    let backup = dir.path().join("kept");
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for file in backup.read_dir().unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
    let manifest = manifest(&backup);
    for file in manifest["files"].as_array().unwrap() {
        let bytes = std::fs::read(backup.join(file["name"].as_str().unwrap())).unwrap();
        assert_eq!(file["blake3"], blake3::hash(&bytes).to_hex().as_str());
        assert_eq!(file["bytes"], bytes.len());
    }
    let of = |name: &str| {
        manifest["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("events.copy")["rows"], events["events"]);

    let none = run(&dir.path().join("nowhere"), &["backup", "--out", "x"]).await;
    assert_eq!(none.status.code(), Some(2), "{}", text(&none));
    assert!(!dir.path().join("nowhere").exists() && !dir.path().join("x").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_keys_needs_them_in_place_and_an_altered_one_is_refused() {
    let (dir, data) = place();
    let up = UpProcess::start(&data).await;
    up.post("/v1/organisations", json!({"kind": "company", "name": "Example"}))
        .await;
    let taken = up.run(&["backup", "--out", "kept", "--without-key"]).await;
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken));
    assert!(
        text(&taken).contains("does not hold the signing key"),
        "{}",
        text(&taken)
    );
    up.interrupt().await;
    let backup = dir.path().join("kept");
    assert!(!backup.join("signing.key").exists() && !backup.join("key.pepper").exists());

    let target = dir.path().join("target");
    let nothing = run(&target, &["restore", "nowhere"]).await;
    assert_eq!(nothing.status.code(), Some(2), "{}", text(&nothing));
    assert!(!target.exists(), "no servers are made for it");
    let keyless = run(&target, &["restore", "kept"]).await;
    assert_eq!(keyless.status.code(), Some(2), "{}", text(&keyless));
    assert!(
        text(&keyless).contains("put it there first"),
        "{}",
        text(&keyless)
    );
    assert!(!target.exists(), "a refused restore leaves nothing");
    std::fs::create_dir_all(target.join("kms")).unwrap();
    for name in ["signing.key", "key.pepper", "kms/kek-1.key"] {
        std::fs::copy(data.join(name), target.join(name)).unwrap();
    }
    let events = backup.join("events.copy");
    let whole = std::fs::read(&events).unwrap();
    let mut flipped = whole.clone();
    flipped[300] ^= 1;
    std::fs::write(&events, flipped).unwrap();
    let altered = run(&target, &["restore", "kept"]).await;
    assert_eq!(altered.status.code(), Some(1), "{}", text(&altered));
    assert!(
        text(&altered).contains("events.copy is not as it was backed up"),
        "{}",
        text(&altered)
    );
    // A manifest that says other ends than its tables hold is found out when these are loaded; what was made is taken back.
    std::fs::write(&events, &whole).unwrap();
    let kept = std::fs::read_to_string(backup.join("manifest.json")).unwrap();
    let mut other = manifest(&backup);
    other["logs"][0]["position"] = 1.into();
    std::fs::write(backup.join("manifest.json"), other.to_string()).unwrap();
    let odd = run(&target, &["restore", "kept"]).await;
    assert_eq!(odd.status.code(), Some(1), "{}", text(&odd));
    assert!(
        text(&odd).contains("does not end where the manifest says"),
        "{}",
        text(&odd)
    );
    std::fs::write(backup.join("manifest.json"), kept).unwrap();
    assert_eq!(names(&target), ["key.pepper", "kms", "signing.key"]);
    std::fs::write(&events, whole).unwrap();
    let restored = run(&target, &["restore", "kept"]).await;
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored));
}
