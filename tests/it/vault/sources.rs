//! A KRI source that asks with a secret: it is sent to its source and to nobody else, every opening is on record, and it is
//! in no table, message, log or error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};
use wiremock::matchers::{header, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::faults::canary::copies;
use crate::support::installation::Installation;
use crate::support::person::{Person, until};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::World;

const FIRST: &str = "zq7-vault-canary-feed-first";
const SECOND: &str = "zq7-vault-canary-feed-second";

/// A source that answers whoever knows `key`, and says the key to nobody else.
async fn feed(key: &str) -> MockServer {
    let server = MockServer::builder().start().await;
    Mock::given(path("/rate"))
        .and(header("x-api-key", key))
        .respond_with(ResponseTemplate::new(200).set_body_string(r#"{"rate":0.25}"#))
        .mount(&server)
        .await;
    Mock::given(path("/rate.csv"))
        .and(header("x-api-key", key))
        .respond_with(ResponseTemplate::new(200).set_body_string("rate\n0.5\n"))
        .mount(&server)
        .await;
    server
}

fn source(server: &MockServer) -> Value {
    json!({"kind": "http_json", "url": format!("{}/rate", server.uri()), "pointer": "/rate",
           "credential": {"header": "x-api-key", "secret": "feed"}})
}

/// Every `SecretOpened` of the tenant: version, why, and who.
async fn opened(installation: &Installation) -> Vec<(u64, String, String)> {
    let mut admin = installation.admin().connect().await.unwrap();
    let query = "SELECT envelope FROM counterfoil.events WHERE type = 'SecretOpened' ORDER BY position";
    let envelopes: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    let opening = |text: &String| {
        let envelope: Value = serde_json::from_str(text).unwrap();
        let payload = &envelope["payload"];
        let version = payload["version"].as_u64().unwrap();
        let why = payload["why"].as_str().unwrap().to_owned();
        (version, why, envelope["actor"].to_string())
    };
    envelopes.iter().map(opening).collect()
}

/// Asks for a run and waits for its end.
async fn run(server: &Served, world: &World, source: &str) -> Value {
    let path = world.path(&format!("/kri-sources/{source}/runs"));
    let asked = server.post(&path, &json!({})).await.good();
    let run = world.path(&format!("/kri-runs/{}", asked["id"].as_str().unwrap()));
    let began = Instant::now();
    loop {
        let reply = server.get(&run).await;
        if reply.status == 200
            && ["completed", "failed"].contains(&reply.json()["state"].as_str().unwrap_or_default())
        {
            return reply.json();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{}", reply.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_asks_with_its_secret_and_every_opening_is_on_record() {
    let feed = feed(FIRST).await;
    let more = "[kri.fetch]\nallow_private = [\"127.0.0.1\"]\n";
    let installation = Installation::with(more).await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let kri = json!({"id": "rate", "definition": {"name": "Rate", "unit": "%", "schedule": {"frequency": "hourly"},
                     "bands": {"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}}});
    server.post(&world.path("/kris"), &kri).await.good();
    let body = json!({"kri": "rate", "config": source(&feed)});
    let made = server.post(&world.path("/kri-sources"), &body).await.good();
    let id = made["id"].as_str().unwrap().to_owned();
    let test = world.path(&format!("/kri-sources/{id}/test"));
    let missing = server.post(&test, &Value::Null).await;
    assert_eq!(missing.status, 422, "{}", missing.text);
    assert_eq!(missing.json()["code"], "credential_unusable");
    assert!(
        opened(&installation).await.is_empty(),
        "nothing was there to be opened"
    );

    let secret = json!({"name": "feed", "purpose": "source_credential", "value": FIRST});
    server.post(&world.path("/secrets"), &secret).await.good();
    let tested = server.post(&test, &Value::Null).await.good();
    assert_eq!(tested["value"], "0.25", "{tested}");
    let measured = run(&server, &world, &id).await;
    assert_eq!(measured["state"], "completed", "{measured}");

    // A table is asked for in the same way.
    let table = json!({"kind": "csv", "url": format!("{}/rate.csv", feed.uri()), "column": "rate", "aggregate": "last",
                       "credential": {"header": "x-api-key", "secret": "feed"}});
    let body = json!({"kri": "rate", "config": table});
    let made = server.post(&world.path("/kri-sources"), &body).await.good();
    let table = world.path(&format!("/kri-sources/{}/test", made["id"].as_str().unwrap()));
    let tested = server.post(&table, &Value::Null).await.good();
    assert_eq!(tested["value"], "0.5", "{tested}");

    // Another value from now on: the source, which knows the first, answers nobody.
    let path = world.path("/secrets/feed");
    let rotate = server.request(Method::PUT, &path).json(&json!({"value": SECOND}));
    Reply::of(rotate).await.good();
    let refused = server.post(&test, &Value::Null).await;
    assert_eq!(refused.json()["code"], "http_status", "{}", refused.text);
    let failed = run(&server, &world, &id).await;
    assert_eq!(failed["state"], "failed", "{failed}");

    let openings = opened(&installation).await;
    let what: Vec<(u64, &str)> = openings
        .iter()
        .map(|(version, why, _)| (*version, why.as_str()))
        .collect();
    assert_eq!(
        what,
        [
            (1, "kri_source_test"),
            (1, "kri_run"),
            (1, "kri_source_test"),
            (2, "kri_source_test"),
            (2, "kri_run")
        ]
    );
    assert!(openings[1].2.contains("kri-runner"), "{openings:?}");
    assert_ne!(openings[0].2, openings[1].2, "who asked is told apart");

    let figures = server.get("/metrics").await.text;
    server.stop().await;
    let wanted = [FIRST.to_owned(), SECOND.to_owned(), hex::encode(FIRST)];
    let copies = [
        ("tables", copies::tables(&installation).await),
        ("stream", copies::messages(&installation).await),
        ("log", std::fs::read_to_string(installation.log_file()).unwrap()),
        ("figures", figures),
        (
            "answers",
            [
                missing.text,
                tested.to_string(),
                measured.to_string(),
                failed.to_string(),
            ]
            .concat(),
        ),
    ];
    for (place, text) in copies {
        let found = copies::found(place, &text, &wanted);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_goes_over_tls_only_and_another_purpose_is_refused() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let kri = json!({"id": "rate", "definition": {"name": "Rate", "unit": "%", "schedule": {"frequency": "hourly"},
                     "bands": {"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}}});
    server.post(&world.path("/kris"), &kri).await.good();
    let configure = async |url: &str| {
        let config = json!({"kind": "http_json", "url": url, "pointer": "/rate",
                            "credential": {"header": "authorization", "secret": "feed"}});
        let body = json!({"kri": "rate", "config": config});
        server.post(&world.path("/kri-sources"), &body).await
    };
    let clear = configure("http://example.org/rate").await;
    assert_eq!(
        (clear.status, &clear.json()["code"]),
        (422, &json!("credential_in_clear")),
        "{}",
        clear.text
    );
    let made = configure("https://example.org/rate").await.good();
    let secret = json!({"name": "feed", "purpose": "provider_key", "value": FIRST});
    server.post(&world.path("/secrets"), &secret).await.good();
    let test = world.path(&format!("/kri-sources/{}/test", made["id"].as_str().unwrap()));
    let other = server.post(&test, &Value::Null).await;
    assert_eq!(other.json()["code"], "credential_unusable", "{}", other.text);
    assert!(opened(&installation).await.is_empty());
}

/// A risk officer says what is measured. Where a secret is sent decides who may write secrets: he could have it sent to
/// himself.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_secrets_may_not_say_where_one_is_sent() {
    let feed = feed(FIRST).await;
    let installation = Installation::with("[kri.fetch]\nallow_private = [\"127.0.0.1\"]\n").await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let kri = json!({"id": "rate", "definition": {"name": "Rate", "unit": "%", "schedule": {"frequency": "hourly"},
                     "bands": {"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}}});
    server.post(&world.path("/kris"), &kri).await.good();
    until(200, "the tenant is in its list", async || {
        server.get(&world.path("")).await
    })
    .await;
    let tenant = server.get(&world.path("")).await.good();
    let organisation = format!("/v1/organisations/{}", tenant["organisation"].as_str().unwrap());
    let officer = Person::with(&server, &organisation, "risk_officer").await;
    let admin = Person::with(&server, &world.path(""), "tenant_admin").await;
    let sources = world.path("/kri-sources");
    for person in [&officer, &admin] {
        until(200, "the role is known", async || {
            person.get(&server, &sources).await
        })
        .await;
    }
    let open = json!({"kind": "http_json", "url": format!("{}/rate", feed.uri()), "pointer": "/rate"});
    let made = officer
        .post(&server, &sources, &json!({"kri": "rate", "config": open}))
        .await;
    let made = made.good()["id"].as_str().unwrap().to_owned();
    let with_secret = json!({"kri": "rate", "config": source(&feed)});
    let refused = officer.post(&server, &sources, &with_secret).await;
    let change = officer
        .request(&server, Method::PUT, &format!("{sources}/{made}"))
        .json(&source(&feed));
    for reply in [refused, Reply::of(change).await] {
        assert_eq!(reply.problem(), "forbidden", "{}", reply.text);
        assert_eq!(reply.json()["permission"], "secrets.write");
    }
    let kept = officer.get(&server, &format!("{sources}/{made}")).await.good();
    assert!(kept["config"].get("credential").is_none(), "{kept}");
    admin.post(&server, &sources, &with_secret).await.good();
    server.stop().await;
}
