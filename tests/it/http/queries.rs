//! What the read models answer over HTTP: lists by pages, items, and a carrier's rollups.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::installation::Installation;
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

/// A list, page by page.
async fn all(server: &Served, path: &str, limit: usize, wait_for: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let request = server.request(Method::GET, &format!("{path}?limit={limit}{cursor}"));
        let page = Reply::of(request.header("counterfoil-wait-for", wait_for))
            .await
            .good();
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit, "{path}: {page}");
        items.extend(found.iter().cloned());
        match page["next"].as_str() {
            Some(next) => {
                assert_eq!(found.len(), limit, "{path}: a page with a next one is full");
                cursor = format!("&cursor={next}");
            }
            None => return items,
        }
    }
}

fn ids(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_shown_with_its_whole_spec_card() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let card = agent_card("claims", &["demo-small"]);
    let registered = server.post(&world.path("/agents"), &card).await;
    let path = format!("/agents/{}", registered.good()["id"].as_str().unwrap());
    let request = server.request(Method::GET, &world.path(&path));
    let agent = Reply::of(request.header("counterfoil-wait-for", registered.header("counterfoil-position")));
    let agent = agent.await.good();
    for member in ["name", "owner", "purpose", "models", "risk_tier"] {
        assert_eq!(agent["card"][member], card[member], "{agent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_hold_every_item_once_in_the_order_of_ids() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let other = World::new(&server, &["demo-small"]).await;
    let mut made = BTreeSet::from([world.agent.clone()]);
    let mut position = String::new();
    for n in 0..7 {
        let reply = server
            .post(
                &world.path("/agents"),
                &agent_card(&format!("agent {n}"), &["demo-small"]),
            )
            .await;
        position = reply.header("counterfoil-position").to_owned();
        made.insert(reply.good()["id"].as_str().unwrap().to_owned());
    }
    let made: Vec<String> = made.into_iter().collect();
    for limit in [1, 2, 3, 8, 500] {
        assert_eq!(
            ids(&all(&server, &world.path("/agents"), limit, &position).await),
            made,
            "limit {limit}"
        );
    }
    let theirs = format!("{}:6", other.tenant);
    assert_eq!(
        ids(&all(&server, &other.path("/agents"), 500, &theirs).await),
        [other.agent.as_str()]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_can_be_read_in_every_list_and_by_its_id() {
    let installation = Installation::with("[gateway]\ndemo_provider = true\n").await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let mut position = String::new();
    for (text, status) in [("Hello", 200), ("Send me the payroll", 403)] {
        let body = json!({"model": "demo-small", "messages": [{"role": "user", "content": text}]});
        let url = format!("{}/v1/chat/completions", server.url);
        let reply = Reply::of(
            reqwest::Client::new()
                .post(url)
                .bearer_auth(&world.key)
                .json(&body),
        )
        .await;
        assert_eq!(reply.status, status, "{}", reply.text);
        position = reply.header("counterfoil-position").to_owned();
    }
    assert!(position.starts_with(&world.tenant.to_string()), "{position:?}");

    let read = async |path: &str| all(&server, &world.path(path), 500, &position).await;
    let agents = read("/agents").await;
    assert_eq!(
        (&agents[0]["name"], &agents[0]["risk_tier"]),
        (&json!("helper"), &json!("limited"))
    );
    assert_eq!(ids(&read("/policies").await), ["organisation", "tenant"]);
    let versions = read("/policy-versions").await;
    assert_eq!(versions.len(), 2);
    let published = server
        .get(&world.path("/policies/tenant/versions/1"))
        .await
        .good();
    let text = published["source"].as_str().unwrap();
    assert!(text.starts_with("package counterfoil"), "{published}");
    let listed = versions
        .iter()
        .find(|version| version["id"] == "tenant|1")
        .unwrap();
    assert_eq!(published["digest"], listed["source"]["digest"]);
    assert_eq!(
        counterfoil_events::document::digest(text.as_bytes()).to_string(),
        published["digest"]
    );
    for version in ["/policies/tenant/versions/2", "/policies/tenant/versions/0"] {
        assert_eq!(server.get(&world.path(version)).await.status, 404, "{version}");
    }
    let completions = read("/completions").await;
    assert_eq!(completions.len(), 2, "{completions:?}");
    for completion in &completions {
        let id = completion["id"].as_str().unwrap();
        assert_eq!(
            server
                .get(&world.path(&format!("/completions/{id}")))
                .await
                .good(),
            *completion
        );
    }
    let states: BTreeSet<_> = completions
        .iter()
        .map(|found| found["status"].as_str().unwrap_or("?"))
        .collect();
    assert_eq!(states, BTreeSet::from(["denied", "settled"]), "{completions:?}");
    let usage = read("/usage").await;
    assert_eq!(usage.len(), 1, "{usage:?}");
    for item in ["/agents", "/completions", "/kris", "/kri-sources", "/kri-runs"] {
        let unknown = server
            .get(&world.path(&format!("{item}/{}", uuid::Uuid::now_v7())))
            .await;
        assert_eq!(
            (unknown.status, unknown.problem().as_str()),
            (404, "not-found"),
            "{item}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_tenant_is_told_from_one_that_has_nothing_yet() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let nobody = uuid::Uuid::now_v7();
    for list in [
        "agents",
        "policies",
        "completions",
        "usage",
        "kris",
        "kri-sources",
        "kri-runs",
    ] {
        let reply = server.get(&format!("/v1/tenants/{nobody}/{list}")).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (404, "not-found"),
            "{list}"
        );
    }
    let none_yet = server.get(&world.path("/kris")).await.good();
    assert_eq!(none_yet, json!({"items": [], "next": null}));
}

/// Lets the world's tenant measure a KRI at `value`, by a run that asks for `run`; answers the source.
async fn measure(server: &Served, world: &World, value: &str, run: &Value) -> String {
    let definition = json!({"name": "Failed settlement rate", "unit": "%", "schedule": {"frequency": "daily"},
        "bands": {"direction": "higher_is_worse", "upper": {"amber": "2", "red": "5"}}});
    let kri = json!({"id": "failed_settlement_rate", "definition": definition});
    server.post(&world.path("/kris"), &kri).await.good();
    let config =
        json!({"kind": "csv", "column": "rate", "aggregate": "last", "text": format!("rate\n{value}\n")});
    let source = json!({"kri": "failed_settlement_rate", "config": config});
    let source = server.post(&world.path("/kri-sources"), &source).await.good()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let tested = server
        .post(&world.path(&format!("/kri-sources/{source}/test")), &Value::Null)
        .await
        .good();
    assert!(tested.to_string().contains(value), "{tested}");
    let run = server
        .post(&world.path(&format!("/kri-sources/{source}/runs")), run)
        .await
        .good();
    let run = world.path(&format!("/kri-runs/{}", run["id"].as_str().unwrap()));
    loop {
        let read = server.get(&run).await;
        if read.status == 200 && read.json()["state"] == "completed" {
            return source;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kri_says_its_status_and_a_source_its_configuration() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let (fresh, old) = (
        World::new(&server, &["demo-small"]).await,
        World::new(&server, &["demo-small"]).await,
    );
    measure(&server, &fresh, "3", &json!({})).await;
    let long_ago = json!({"measured_at": "2020-01-01T00:00:00.000000Z"});
    let source = measure(&server, &old, "1", &long_ago).await;
    let kri = async |world: &World| {
        server
            .get(&world.path("/kris/failed_settlement_rate"))
            .await
            .good()
    };
    assert_eq!(kri(&fresh).await["status"], "amber");
    // What was green long ago is not green.
    let stale = kri(&old).await;
    assert_eq!(stale["latest"]["band"], "green");
    assert_eq!(stale["status"], "stale");
    let source = server
        .get(&old.path(&format!("/kri-sources/{source}")))
        .await
        .good();
    assert_eq!(source["config"]["column"], "rate");
    assert!(source["config"]["document"]["digest"].is_string(), "{source}");
    let never = json!({"name": "Never", "unit": "%", "schedule": {"frequency": "daily"},
        "bands": {"direction": "higher_is_worse", "upper": {"amber": "2", "red": "5"}}});
    let defined = server
        .post(&old.path("/kris"), &json!({"id": "never", "definition": never}))
        .await;
    let position = defined.header("counterfoil-position").to_owned();
    let kris = all(&server, &old.path("/kris"), 500, &position).await;
    let never = kris.iter().find(|kri| kri["id"] == "never").unwrap();
    assert_eq!(never["status"], "missing");
}

/// A tenant of the carrier's with a KRI measured at `value`; answers where its log and the platform's stand then.
async fn measured(server: &Served, carrier: &str, value: &str, exposure: u64) -> (World, String) {
    let world = World::new(server, &["demo-small"]).await;
    measure(server, &world, value, &json!({})).await;
    let carry = server.request(Method::PUT, &world.path(&format!("/carriers/{carrier}")));
    Reply::of(carry.json(&json!({"share": "0.5"}))).await.good();
    let amount = json!({"amount": {"micros": exposure.to_string(), "currency": "EUR"}});
    let set = Reply::of(
        server
            .request(Method::PUT, &world.path("/exposure"))
            .json(&amount),
    )
    .await;
    let position = set.header("counterfoil-position").to_owned();
    set.good();
    (world, position)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_sees_its_tenants_rolled_up_with_the_positions_that_the_figures_stand_on() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let carrier = json!({"kind": "carrier", "name": "Northsea Mutual"});
    let carrier = server.post("/v1/organisations", &carrier).await.good()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (green, _) = measured(&server, &carrier, "1", 1_000_000).await;
    let (red, position) = measured(&server, &carrier, "7", 3_000_000).await;

    let path = format!("/v1/carriers/{carrier}/rollups");
    let request = server
        .request(Method::GET, &path)
        .header("counterfoil-wait-for", &position);
    let rollup = Reply::of(request).await.good();
    let text = rollup.to_string();
    assert_eq!(rollup["carried"].as_array().unwrap().len(), 2, "{text}");
    let items = rollup["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{text}");
    let item = &items[0];
    assert_eq!(
        (&item["kri"], &item["unit"]),
        (&json!("failed_settlement_rate"), &json!("%"))
    );
    let statistics = &item["statistics"];
    // Weighed by what the carrier carries: (1 · 0.5 + 7 · 1.5) / 2.
    for (figure, expected) in [
        ("members", json!(2)),
        ("weighted_mean", json!("5.5")),
        ("median", json!("4")),
        ("p90", json!("7")),
        ("coverage", json!("1")),
        ("stale_share", json!("0")),
        ("worst", json!({"band": "red", "key": red.tenant, "value": "7"})),
        (
            "statuses",
            json!({"green": 1, "amber": 0, "red": 1, "stale": 0, "missing": 0}),
        ),
    ] {
        assert_eq!(statistics[figure], expected, "{figure}: {statistics}");
    }
    for world in [&green, &red] {
        assert!(
            rollup["positions"][world.tenant.to_string()].as_u64().unwrap() > 0,
            "{text}"
        );
    }
    // In 2099 nothing is fresh, and what is stale is never green.
    let later = Reply::of(server.request(Method::GET, &format!("{path}?at=2099-01-01T00:00:00.000000Z")))
        .await
        .good();
    let statuses = &later["items"][0]["statistics"]["statuses"];
    assert_eq!(
        *statuses,
        json!({"green": 0, "amber": 0, "red": 0, "stale": 2, "missing": 0})
    );
    assert_eq!(
        server.get(&format!("{path}?at=yesterday")).await.problem(),
        "invalid-parameter"
    );
    let nobody = format!("/v1/carriers/{}/rollups", uuid::Uuid::now_v7());
    assert_eq!(server.get(&nobody).await.problem(), "not-found");
}
