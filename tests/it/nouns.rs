//! The thin commands against a running `up`: every noun does what the API does, tables for people, JSON for machines,
//! and what the API refuses is said in one line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Output;

use serde_json::{Value, json};

use crate::support::up::{UpProcess, place, run, text};

/// A command in words; it has to succeed, and its answer is JSON.
async fn json(up: &UpProcess, line: &str) -> Value {
    let output = words(up, &format!("{line} --json")).await;
    assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same for people.
async fn shown(up: &UpProcess, line: &str) -> String {
    let output = words(up, line).await;
    assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
    text(&output)
}

/// A command in words that are parted by spaces.
async fn words(up: &UpProcess, line: &str) -> Output {
    up.run(&line.split_whitespace().collect::<Vec<_>>()).await
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().unwrap().to_owned()
}

/// Where a command was recorded, for the query after it.
fn position(answer: &Value) -> String {
    let receipt = answer["receipts"].as_array().unwrap().last().unwrap();
    format!("{}:{}", receipt["tenant"].as_str().unwrap(), receipt["position"])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_run_by_its_nouns_alone() {
    let (dir, data) = place();
    let up = UpProcess::start(&data).await;
    let file = |name: &str, body: &str| std::fs::write(dir.path().join(name), body).unwrap();

    assert!(
        shown(&up, "organisations list")
            .await
            .contains("no organisations yet")
    );
    let carrier = id(&json(&up, "organisations create --kind carrier --name Northsea").await);
    let company = json(&up, "organisations create --kind company --name Harbour").await;
    let home = company["home_tenant"].as_str().unwrap().to_owned();
    let company = id(&company);
    let renamed = json(
        &up,
        &format!("organisations rename {company} --name Harbour-Logistics"),
    )
    .await;
    let listed = shown(
        &up,
        &format!("organisations list --wait-for {}", position(&renamed)),
    )
    .await;
    assert!(
        listed.starts_with("ID") && listed.contains("Harbour-Logistics"),
        "{listed}"
    );
    json(
        &up,
        &format!("organisations suspend {company} --reason contract_ended"),
    )
    .await;
    let resumed = json(&up, &format!("organisations resume {company}")).await;
    let one = json(&up, &format!("organisations get {company}")).await;
    assert_eq!(one["name"], "Harbour-Logistics", "{resumed}");

    let tenant = id(&json(
        &up,
        &format!("tenants create --organisation {company} --name Claims"),
    )
    .await);
    json(&up, &format!("tenants rename {tenant} --name Claims-desk")).await;
    json(
        &up,
        &format!("tenants carry {tenant} --carrier {carrier} --share 0.6"),
    )
    .await;
    json(
        &up,
        &format!("tenants exposure {tenant} --micros 1000000000000 --currency EUR"),
    )
    .await;
    json(&up, &format!("tenants suspend {tenant} --reason audit")).await;
    let last = json(&up, &format!("tenants resume {tenant}")).await;
    let one = shown(
        &up,
        &format!("tenants get {tenant} --wait-for {}", position(&last)),
    )
    .await;
    assert!(one.contains("Claims-desk") && one.contains("EUR"), "{one}");
    assert!(
        shown(&up, "tenants list --limit 1")
            .await
            .contains("the first 1; --limit shows more")
    );

    let card = "--name helper --owner Claims --purpose Drafts --model demo-small --risk-tier limited";
    let agent = id(&json(&up, &format!("agents register --tenant {home} {card}")).await);
    let mut card = crate::support::up::spec_card();
    card["name"] = "drafter".into();
    file("card.json", &card.to_string());
    let changed = json(
        &up,
        &format!("agents change {agent} --tenant {home} --file card.json"),
    )
    .await;
    let one = json(
        &up,
        &format!(
            "agents get {agent} --tenant {home} --wait-for {}",
            position(&changed)
        ),
    )
    .await;
    assert_eq!(one["name"], "drafter");
    assert!(
        shown(&up, &format!("agents list --tenant {home}"))
            .await
            .contains("demo-small")
    );
    let key = json(&up, &format!("agents keys issue {agent} --tenant {home}")).await;
    let key_id = key["key_id"].as_str().unwrap();

    file(
        "policy.rego",
        "package counterfoil\nimport rego.v1\ndecision := {\"allow\": true, \"reasons\": []}\n",
    );
    for layer in ["organisation", "tenant"] {
        let published = json(
            &up,
            &format!("policies publish {layer} policy.rego --tenant {home}"),
        )
        .await;
        assert_eq!(published["version"], 1);
        json(&up, &format!("policies activate {layer} 1 --tenant {home}")).await;
    }
    up.complete(key["api_key"].as_str().unwrap()).await;
    file(
        "policy.rego",
        "package counterfoil\ndecision := {\"allow\": false, \"reasons\": [\"all\"]}\n",
    );
    json(
        &up,
        &format!("policies publish tenant policy.rego --tenant {home}"),
    )
    .await;
    json(&up, &format!("policies activate tenant 2 --tenant {home}")).await;
    let back = json(&up, &format!("policies rollback tenant --tenant {home}")).await;
    let one = json(
        &up,
        &format!(
            "policies get tenant --tenant {home} --wait-for {}",
            position(&back)
        ),
    )
    .await;
    assert_eq!((&one["active"], &one["latest"]), (&1.into(), &2.into()), "{one}");
    assert!(
        shown(&up, &format!("policies list --tenant {home}"))
            .await
            .contains("organisation")
    );
    assert_eq!(
        json(&up, &format!("policies versions --tenant {home}"))
            .await
            .as_array()
            .unwrap()
            .len(),
        3
    );
    json(
        &up,
        &format!("agents keys revoke {agent} {key_id} --tenant {home} --reason leaked"),
    )
    .await;
    json(
        &up,
        &format!("agents suspend {agent} --tenant {home} --reason audit"),
    )
    .await;
    json(&up, &format!("agents resume {agent} --tenant {home}")).await;

    file(
        "kri.json",
        &json!({"name": "Failed", "unit": "share",
        "bands": {"direction": "higher_is_worse", "upper": {"amber": "0.02", "red": "0.05"}},
        "schedule": {"frequency": "daily", "grace_s": 43200}})
        .to_string(),
    );
    file(
        "source.json",
        &json!({"kind": "csv", "text": "rate\n0.07\n", "column": "rate", "aggregate": "last"}).to_string(),
    );
    json(
        &up,
        &format!("kri define failed --file kri.json --tenant {tenant}"),
    )
    .await;
    let source = id(&json(
        &up,
        &format!("kri sources configure --kri failed --file source.json --tenant {tenant}"),
    )
    .await);
    let tested = shown(&up, &format!("kri sources test {source} --tenant {tenant}")).await;
    assert!(tested.contains("0.07"), "{tested}");
    let run = id(&json(&up, &format!("kri run {source} --tenant {tenant}")).await);
    let measured = until_shown(&up, &format!("kri runs --tenant {tenant}"), "completed").await;
    assert!(measured.contains(&run) && measured.contains("0.07"), "{measured}");
    assert!(
        shown(&up, &format!("kri measurements --tenant {tenant}"))
            .await
            .contains("failed")
    );
    assert!(
        shown(&up, &format!("kri sources list --tenant {tenant}"))
            .await
            .contains("csv")
    );
    let rollup = until_shown(&up, &format!("kri rollup {carrier}"), "0.07").await;
    assert!(
        rollup.contains("WORST_STATUS") && rollup.contains("red"),
        "{rollup}"
    );
    let whole = json(&up, &format!("kri rollup {carrier}")).await;
    assert_eq!(whole["items"][0]["members"][0]["tenant"], tenant.as_str());
    json(
        &up,
        &format!("kri sources disable {source} --tenant {tenant} --reason moved"),
    )
    .await;
    json(&up, &format!("kri sources enable {source} --tenant {tenant}")).await;
    let retired = json(
        &up,
        &format!("kri retire failed --tenant {tenant} --reason replaced"),
    )
    .await;
    let one = json(
        &up,
        &format!(
            "kri get failed --tenant {tenant} --wait-for {}",
            position(&retired)
        ),
    )
    .await;
    assert_eq!(one["retired"], true, "{one}");
    json(&up, &format!("tenants release {tenant} --carrier {carrier}")).await;
    up.until_good(&["audit", "verify"]).await;
    up.interrupt().await;
}

async fn until_shown(up: &UpProcess, line: &str, wanted: &str) -> String {
    for _ in 0..600 {
        let text = shown(up, line).await;
        if text.contains(wanted) {
            return text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{line} never shows {wanted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_in_one_line_and_by_the_exit_code() {
    let (_dir, data) = place();
    let up = UpProcess::start(&data).await;
    let nobody = uuid::Uuid::now_v7();
    for (line, said) in [
        ("organisations create --kind club --name X", "/kind"),
        (&format!("organisations get {nobody}"), "Not found"),
        (&format!("agents list --tenant {nobody}/../x"), "invalid value"),
        ("organisations get a/b?c", "organisation"),
        ("organisations list --wait-for nonsense", "Counterfoil-Wait-For"),
        ("agents list", "--tenant"),
    ] {
        let output = words(&up, line).await;
        assert_eq!(output.status.code(), Some(2), "{line}: {}", text(&output));
        assert!(
            output.stdout.is_empty() && text(&output).contains(said),
            "{line}: {}",
            text(&output)
        );
    }
    // The same for machines: what the API said, whole, on stderr.
    let output = words(&up, &format!("organisations get {nobody} --json")).await;
    assert!(output.stdout.is_empty());
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (&said["exit"], &said["problem"]["status"]),
        (&2.into(), &404.into()),
        "{said}"
    );
    assert!(said["error"].as_str().unwrap().contains("Not found"), "{said}");
    let create = "organisations create --kind group --name Once --idempotency-key k1";
    let (first, second) = (json(&up, create).await, json(&up, create).await);
    assert_eq!((&first["id"], &second["replayed"]), (&second["id"], &true.into()));
    let other = words(
        &up,
        "organisations create --kind group --name Twice --idempotency-key k1",
    )
    .await;
    assert_eq!(other.status.code(), Some(2), "{}", text(&other));

    // The token of this machine's installation goes to its own address alone.
    let elsewhere = up.run(&["organisations", "list", "--url", &up.url]).await;
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(
        text(&elsewhere).contains("no token was sent"),
        "{}",
        text(&elsewhere)
    );
    let with_token = up
        .run(&["organisations", "list", "--url", &up.url, "--token", &up.token])
        .await;
    assert_eq!(with_token.status.code(), Some(0), "{}", text(&with_token));
    up.interrupt().await;
    let gone = run(&data, &["organisations", "list"]).await;
    assert_eq!(gone.status.code(), Some(3), "{}", text(&gone));
    assert!(
        text(&gone).contains("no answer from http://127.0.0.1:"),
        "{}",
        text(&gone)
    );
}

#[tokio::test]
async fn each_noun_teaches_with_an_example() {
    let nowhere = std::env::temp_dir().join("nowhere");
    for noun in [
        "organisations",
        "tenants",
        "users",
        "members",
        "issuers",
        "agents",
        "policies",
        "kri",
        "subscribers",
    ] {
        let help = text(&run(&nowhere, &[noun, "--help"]).await);
        assert!(
            help.contains(&format!("Example:\n  counterfoil {noun} ")),
            "{help}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_get_roles_tokens_and_a_place_to_sign_in_by_their_nouns() {
    let (dir, data) = place();
    let up = UpProcess::start(&data).await;
    let made = json(&up, "organisations create --kind company --name Example").await;
    let (organisation, home) = (id(&made), made["home_tenant"].as_str().unwrap().to_owned());
    let user = id(&json(&up, "users create --kind person").await);
    for (place, role) in [
        (format!("--tenant {home}"), "developer"),
        (format!("--organisation {organisation}"), "auditor"),
        ("--platform".to_owned(), "platform_auditor"),
    ] {
        json(&up, &format!("members grant {user} {role} {place}")).await;
        until_shown(&up, &format!("members list {place}"), &user).await;
        json(&up, &format!("members revoke {user} {role} {place}")).await;
    }
    let refused = words(&up, "members list").await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));

    let token = json(&up, &format!("users token {user}")).await;
    assert!(token["token"].as_str().unwrap().starts_with("cfu_"));
    let token_id = token["token_id"].as_str().unwrap();
    json(
        &up,
        &format!("users revoke-token {user} {token_id} --reason lost"),
    )
    .await;
    let none = words(&up, &format!("users end-sessions {user} --reason lost")).await;
    assert_eq!(none.status.code(), Some(2), "{}", text(&none));
    assert!(text(&none).contains("no session"), "{}", text(&none));
    let issued = json(&up, &format!("subscribers issue --for-s 60 --tenant {home}")).await;
    let credential = issued["credential_id"].as_str().unwrap();
    json(
        &up,
        &format!("subscribers revoke {credential} --tenant {home} --reason lost"),
    )
    .await;
    json(&up, &format!("users suspend {user} --reason left")).await;
    json(&up, &format!("users resume {user}")).await;

    let issuer = json(
        &up,
        "issuers create --platform --issuer-url https://login.example/t --audience counterfoil",
    )
    .await;
    let issuer = id(&issuer);
    let own = format!(
        "issuers create --organisation {organisation} --issuer-url https://login.example/o --audience x --tenant-claim tenant"
    );
    let own = id(&json(&up, &own).await);
    json(
        &up,
        &format!("issuers change {own} --organisation {organisation}"),
    )
    .await;
    json(
        &up,
        &format!("issuers suspend {own} --organisation {organisation} --reason moved"),
    )
    .await;
    json(
        &up,
        &format!("issuers resume {own} --organisation {organisation}"),
    )
    .await;
    until_shown(&up, "issuers list --platform", "https://login.example/t").await;
    let subject = dir.path().join("subject");
    std::fs::write(&subject, "248289761001\n").unwrap();
    let linked = json(
        &up,
        &format!(
            "users link {user} --issuer {issuer} --subject-file {}",
            subject.display()
        ),
    )
    .await;
    let refused = words(&up, &format!("users token {user}")).await;
    assert!(
        text(&refused).contains("signs in at an issuer"),
        "{}",
        text(&refused)
    );
    let link = linked["link"].as_str().unwrap();
    json(&up, &format!("users unlink {user} {link} --reason left")).await;
    let nowhere = words(&up, &format!("members take-over {user}")).await;
    assert!(
        text(&nowhere).contains("signs in at no issuer"),
        "{}",
        text(&nowhere)
    );
    let status = json(&up, "bootstrap status").await;
    assert_eq!(status["closed"], false);
    up.interrupt().await;
}
