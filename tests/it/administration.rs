//! The bootstrap token ends when an administrator takes its place, on every process and for good; from then on the last
//! administrator stays; and an operator can open the door again, on record.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::installation::Installation;
use crate::support::issuer::{ALLOWED, TestIssuer, ask_as, enrol, grant, until};
use crate::support::reply::Reply;
use crate::support::served::Served;

const LOG: &str = "/v1/tenants/00000000-0000-0000-0000-000000000000/events?limit=500";

async fn take_over(server: &Served, user: &str) -> Reply {
    server
        .post("/v1/platform/administrators", &json!({"user": user}))
        .await
}

fn code(reply: &Reply) -> (u16, String) {
    (
        reply.status,
        reply.json()["code"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bootstrap_token_is_dead_once_an_administrator_has_taken_its_place() {
    let installation = Installation::with(ALLOWED).await;
    let (here, there) = (installation.serve().await, installation.serve().await);
    let issuer = TestIssuer::start().await;
    // Whoever could not get in cannot take over.
    let stranger = here.post("/v1/users", &json!({"kind": "person"})).await.good();
    let stranger = stranger["id"].as_str().unwrap().to_owned();
    let refused = take_over(&here, &stranger).await;
    assert_eq!(code(&refused), (409, "user_signs_in_nowhere".to_owned()));
    let missing = take_over(&here, &uuid::Uuid::now_v7().to_string()).await;
    assert_eq!(missing.status, 404, "{}", missing.text);
    let id = issuer.configure(&here, "/v1/platform", None).await;
    let (anna, _) = enrol(&here, &id, "anna").await;
    take_over(&here, &anna).await.good();

    for server in [&here, &there] {
        until(401, "the bootstrap token", async || {
            server.get("/v1/platform/members").await
        })
        .await;
        server
            .until_ready("it says so", |_, ready| {
                let component = &ready["components"]["bootstrap_token"];
                component["reason"]
                    .as_str()
                    .is_some_and(|why| why.contains("refused"))
            })
            .await;
    }
    let as_anna = async |server: &Served, method: Method, path: &str, body: Value| {
        ask_as(server, &issuer.token("anna"), method, path, &body).await
    };
    let members = as_anna(&there, Method::GET, "/v1/platform/members", Value::Null).await;
    assert_eq!(
        members.good()["items"],
        json!([{"id": anna, "roles": ["platform_admin"]}])
    );
    let log = as_anna(&there, Method::GET, LOG, Value::Null).await;
    assert!(log.text.contains("BootstrapClosed"), "{}", log.text);
    here.stop().await;
    there.stop().await;
    // After a restart too, though it is still configured.
    let server = installation.serve().await;
    assert_eq!(server.get("/v1/platform/members").await.status, 401);
    let why = json!({"reason": "left"});
    let revoke = format!("/v1/platform/members/{anna}/roles/platform_admin");
    for refused in [
        as_anna(&server, Method::DELETE, &revoke, Value::Null).await,
        as_anna(&server, Method::POST, &format!("/v1/users/{anna}/suspend"), why).await,
    ] {
        assert_eq!(
            code(&refused),
            (409, "administration_last_administrator".to_owned())
        );
    }
    let again = as_anna(
        &server,
        Method::POST,
        "/v1/platform/administrators",
        json!({"user": anna}),
    )
    .await;
    assert_eq!(code(&again), (409, "administration_already_closed".to_owned()));
    // An operator opens it again, and that is on record.
    let said = installation
        .good(&["bootstrap", "reopen", "--reason", "issuer_lost"])
        .await;
    assert!(
        said.contains("heeds its configured bootstrap token again"),
        "{said}"
    );
    until(200, "reopened", async || server.get("/v1/platform/members").await).await;
    assert!(server.get(LOG).await.text.contains("issuer_lost"));
    let twice = installation.run(&["bootstrap", "reopen", "--reason", "x"]).await;
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");
    assert_eq!(take_over(&server, &anna).await.status, 200);
    until(401, "closed anew", async || {
        server.get("/v1/platform/members").await
    })
    .await;
    server.stop().await;
    installation.good(&["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_administrators_who_remove_each_other_at_one_time_one_stays() {
    let installation = Installation::with(ALLOWED).await;
    let (here, there) = (installation.serve().await, installation.serve().await);
    let issuer = TestIssuer::start().await;
    let id = issuer.configure(&here, "/v1/platform", None).await;
    let ((anna, _), (bert, _)) = (enrol(&here, &id, "anna").await, enrol(&here, &id, "bert").await);
    grant(&here, "/v1/platform", &bert, "platform_admin").await;
    take_over(&here, &anna).await.good();
    let (by_anna, by_bert) = (issuer.token("anna"), issuer.token("bert"));
    until(200, "bert, there", async || {
        ask_as(
            &there,
            &by_bert,
            Method::GET,
            "/v1/platform/members",
            &Value::Null,
        )
        .await
    })
    .await;
    for _ in 0..5 {
        let path = |user: &str| format!("/v1/platform/members/{user}/roles/platform_admin");
        let (bert_goes, anna_goes) = (path(&bert), path(&anna));
        let (one, two) = tokio::join!(
            ask_as(&here, &by_anna, Method::DELETE, &bert_goes, &Value::Null),
            ask_as(&there, &by_bert, Method::DELETE, &anna_goes, &Value::Null),
        );
        let gone = [&one, &two].iter().filter(|reply| reply.status == 200).count();
        assert_eq!(
            gone, 1,
            "{} {} / {} {}",
            one.status, one.text, two.status, two.text
        );
        // Whoever stayed brings the other one back.
        let (stayed, lost, gone_path, server) = match one.status {
            200 => (&by_anna, &by_bert, &bert_goes, &here),
            _ => (&by_bert, &by_anna, &anna_goes, &there),
        };
        until(200, "back", async || {
            let reply = ask_as(server, stayed, Method::PUT, gone_path, &Value::Null).await;
            match reply.status {
                // It has come back already, and the answer was lost.
                409 => ask_as(server, stayed, Method::GET, "/v1/platform/members", &Value::Null).await,
                _ => reply,
            }
        })
        .await;
        for server in [&here, &there] {
            for token in [stayed, lost] {
                until(200, "both", async || {
                    ask_as(server, token, Method::GET, "/v1/platform/members", &Value::Null).await
                })
                .await;
            }
        }
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_open_administrators_come_and_go_and_a_repeat_answers_the_same() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let made = server.post("/v1/users", &json!({"kind": "person"})).await.good();
    let user = made["id"].as_str().unwrap();
    let path = format!("/v1/platform/members/{user}/roles/platform_admin");
    let ask = async |method: Method, key: &str| {
        let request = server.request(method, &path).header("idempotency-key", key);
        Reply::of(request).await
    };
    let granted = ask(Method::PUT, "first").await.good();
    assert_eq!(
        granted["receipts"].as_array().unwrap().len(),
        2,
        "the user's event and the administration's"
    );
    let replayed = ask(Method::PUT, "first").await.good();
    assert_eq!(
        (replayed["replayed"].clone(), &replayed["id"]),
        (json!(true), &granted["id"])
    );
    assert_eq!(
        code(&ask(Method::PUT, "second").await),
        (409, "user_already_granted".to_owned())
    );
    let suspended = server
        .post(&format!("/v1/users/{user}/suspend"), &json!({"reason": "left"}))
        .await
        .good();
    assert_eq!(suspended["receipts"].as_array().unwrap().len(), 2);
    // Suspended it does not administer, so that taking the role away is the user's event alone.
    let revoked = ask(Method::DELETE, "third").await.good();
    assert_eq!(revoked["receipts"].as_array().unwrap().len(), 1);
    assert_eq!(
        server.get("/v1/platform/members").await.status,
        200,
        "the token goes on"
    );
    server.stop().await;
}
