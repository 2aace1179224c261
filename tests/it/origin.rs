//! The proof of origin and its break-glass switch, over two processes and the real log.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil::http::origin::{X_ORIGIN_VERIFY, prove};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::installation::{Installation, TOKEN};
use crate::support::person::{Person, until};
use crate::support::reply::Reply;
use crate::support::served::Served;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SUSPEND: &str = "/v1/platform/origin/suspend";
const RESTORE: &str = "/v1/platform/origin/restore";

/// Straight at the process, past the edge.
async fn past_the_edge(server: &Served) -> Reply {
    server.get("/v1/organisations").await
}

/// As the edge sends it on.
async fn through_the_edge(server: &Served, token: &str, method: Method, path: &str, body: &Value) -> Reply {
    let now = chrono::Utc::now().timestamp();
    let proof = prove(&SecretString::from(SECRET), now, &method, path);
    let request = reqwest::Client::new()
        .request(method, format!("{}{path}", server.url))
        .bearer_auth(token)
        .header(X_ORIGIN_VERIFY, proof);
    Reply::of(match body.is_null() {
        true => request,
        false => request.json(body),
    })
    .await
}

/// What `/ready` says of the proof.
async fn said(server: &Served) -> Value {
    server.ready().await.1["components"]["origin_proof"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_is_suspended_and_restored_on_every_process_on_record_and_by_nobody_from_outside() {
    let installation = Installation::with(&format!("[origin]\nsecret = \"{SECRET}\"\n")).await;
    let (here, there) = (installation.serve().await, installation.serve().await);
    let post =
        async |path: &str, body: Value| through_the_edge(&here, TOKEN, Method::POST, path, &body).await;
    for server in [&here, &there] {
        assert_eq!(past_the_edge(server).await.problem(), "origin-refused");
        server
            .until_ready("it asks for proof", |_, body| {
                body["components"]["origin_proof"]["health"] == "ok"
            })
            .await;
    }
    // The switch itself is behind the edge: a token alone does not open it.
    let body = json!({"for_s": 900, "reason": "edge_down"});
    assert_eq!(here.post(SUSPEND, &body).await.problem(), "origin-refused");
    let refused = post(SUSPEND, json!({"for_s": 3601, "reason": "edge_down"})).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (422, &"origin_too_long".into())
    );
    assert_eq!(
        post(SUSPEND, json!({"for_s": 900})).await.status,
        400,
        "no reason"
    );
    assert_eq!(
        post(RESTORE, json!({"reason": "edge_up"})).await.json()["code"],
        "origin_not_open"
    );

    post(SUSPEND, body).await.good();
    for server in [&here, &there] {
        until(200, "suspended", async || past_the_edge(server).await).await;
        server
            .until_ready("it says so", |_, body| {
                body["components"]["origin_proof"]["health"] == "degraded"
            })
            .await;
        assert!(
            said(server).await["reason"]
                .as_str()
                .unwrap()
                .contains("suspended until")
        );
        let figures = server.get("/metrics").await.text;
        assert!(figures.contains("counterfoil_origin_suspended 1"), "{figures}");
        assert!(figures.contains("counterfoil_origin_unproven_total"), "{figures}");
    }
    post(RESTORE, json!({"reason": "edge_up"})).await.good();
    for server in [&here, &there] {
        until(403, "restored", async || past_the_edge(server).await).await;
    }
    // By itself: nobody restores this one.
    post(SUSPEND, json!({"for_s": 1, "reason": "edge_down"}))
        .await
        .good();
    for server in [&here, &there] {
        until(403, "its time is over", async || past_the_edge(server).await).await;
        server
            .until_ready("it says so", |_, body| {
                body["components"]["origin_proof"]["health"] == "ok"
            })
            .await;
    }
    let log = "/v1/tenants/00000000-0000-0000-0000-000000000000/events";
    let log = through_the_edge(&here, TOKEN, Method::GET, log, &Value::Null)
        .await
        .good();
    let types: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let of_origin: Vec<_> = types
        .into_iter()
        .filter(|name| name.starts_with("OriginProof"))
        .collect();
    assert_eq!(
        of_origin,
        [
            "OriginProofSuspended",
            "OriginProofRestored",
            "OriginProofSuspended"
        ]
    );
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_operates_the_origin_suspends_its_proof_from_the_command_line_and_no_other_role_may() {
    let installation = Installation::with(&format!("[origin]\nsecret = \"{SECRET}\"\n")).await;
    let server = installation.serve().await;
    let args = ["--reason", "edge_down", "--for-s", "600", "--url", &server.url];
    // Without the configuration's secret, which goes to its own address alone, it is refused as anybody is.
    let refused = installation
        .run(&[&["origin", "suspend"], &args[..]].concat())
        .await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let address = server.url.strip_prefix("http://").unwrap();
    let own = format!("http.address={address}");
    installation
        .good(&[
            "origin",
            "suspend",
            "--reason",
            "edge_down",
            "--for-s",
            "600",
            "--set",
            &own,
        ])
        .await;
    until(200, "suspended", async || past_the_edge(&server).await).await;
    let auditor = Person::with(&server, "/v1/platform", "platform_auditor").await;
    let body = json!({"reason": "edge_up"});
    let refused = auditor.post(&server, RESTORE, &body).await;
    assert_eq!(refused.problem(), "forbidden");
    installation
        .good(&["origin", "restore", "--reason", "edge_up", "--set", &own])
        .await;
    until(403, "restored", async || past_the_edge(&server).await).await;
    server.stop().await;
}
