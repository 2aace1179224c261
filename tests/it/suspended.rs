//! Where things are suspended: who gives commands there, who lets them go on, and what is not run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::installation::Installation;
use crate::support::person::{Person, until};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

const REASON: &str = "incident";

/// The organisation of the world's tenant.
async fn organisation(server: &Served, world: &World) -> String {
    let mut organisation = String::new();
    let began = Instant::now();
    while organisation.is_empty() && began.elapsed() < Duration::from_secs(60) {
        let tenant = server.get(&world.path("")).await;
        organisation = tenant.json()["organisation"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    organisation
}

/// What these people are told when they register an agent.
async fn told(server: &Served, world: &World, people: &[&Person]) -> Vec<String> {
    let mut told = Vec::new();
    for person in people {
        let card = agent_card("another", &["demo-small"]);
        let reply = person.post(server, &world.path("/agents"), &card).await;
        told.push(match reply.status {
            201 => "registered".to_owned(),
            _ => reply.json()["code"].as_str().unwrap_or("no code").to_owned(),
        });
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_suspended_tenant_only_who_may_resume_it_gives_commands_and_others_take_away() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let place = format!("/v1/organisations/{}", organisation(&server, &world).await);
    let above = Person::with(&server, &place, "organisation_admin").await;
    let inside = Person::with(&server, &world.path(""), "tenant_admin").await;
    let people = [&above, &inside];
    assert_eq!(told(&server, &world, &people).await, ["registered", "registered"]);

    // By the organisation: it goes on working there, to mend what it stopped it for.
    let (suspend, resume) = (world.path("/suspend"), world.path("/resume"));
    let reason = json!({"reason": REASON});
    above.post(&server, &suspend, &reason).await.good();
    assert_eq!(told(&server, &world, &people).await, ["registered", "suspended"]);

    // By the platform, over that.
    server.post(&suspend, &reason).await.good();
    assert_eq!(told(&server, &world, &people).await, ["suspended", "suspended"]);
    let refused = above.post(&server, &resume, &Value::Null).await;
    assert_eq!(refused.json()["code"], "suspended", "{}", refused.text);
    inside.get(&server, &world.path("/agents")).await.good();
    let agent = world.path(&format!("/agents/{}", world.agent));
    inside
        .post(&server, &format!("{agent}/suspend"), &reason)
        .await
        .good();

    server.post(&resume, &Value::Null).await.good();
    assert_eq!(told(&server, &world, &people).await, ["registered", "registered"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_organisation_everything_is_suspended_on_every_process() {
    let installation = Installation::new().await;
    let (one, other) = (installation.serve().await, installation.serve().await);
    let world = World::new(&one, &["demo-small"]).await;
    let place = format!("/v1/organisations/{}", organisation(&one, &world).await);
    let above = Person::with(&one, &place, "organisation_admin").await;
    one.post(&format!("{place}/suspend"), &json!({"reason": REASON}))
        .await
        .good();
    until(409, "an agent at another process", async || {
        let card = agent_card("another", &["demo-small"]);
        above.post(&other, &world.path("/agents"), &card).await
    })
    .await;
    let tenant = json!({"name": "One more"});
    let refused = above.post(&one, &format!("{place}/tenants"), &tenant).await;
    assert_eq!(refused.json()["code"], "suspended", "{}", refused.text);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_a_suspended_tenant() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let source = world.add_kri_source(&server).await;
    server
        .post(&world.path("/suspend"), &json!({"reason": REASON}))
        .await
        .good();
    let runs = world.path(&format!("/kri-sources/{source}/runs"));
    let requested = Reply::of(server.request(Method::POST, &runs)).await.good();
    let run = world.path(&format!("/kri-runs/{}", requested["id"].as_str().unwrap()));
    let began = Instant::now();
    let ended = loop {
        let run = server.get(&run).await;
        if run.status == 200 && !run.json()["code"].is_null() {
            break run.json();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "still {}", run.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(ended.to_string().contains("tenant_suspended"), "{ended}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kri_that_is_retired_is_measured_no_more() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let source = world.add_kri_source(&server).await;
    let retire = world.path("/kris/denied-share/retire");
    server.post(&retire, &json!({"reason": REASON})).await.good();
    let runs = world.path(&format!("/kri-sources/{source}/runs"));
    let refused = Reply::of(server.request(Method::POST, &runs)).await;
    assert_eq!(refused.json()["code"], "kri_retired", "{}", refused.text);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_a_role_to_oneself() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let admin = Person::with(&server, "/v1/platform", "platform_admin").await;
    let path = world.path(&format!("/members/{}/roles/tenant_admin", admin.id));
    let refused = Reply::of(admin.request(&server, Method::PUT, &path)).await;
    assert_eq!(refused.json()["code"], "grant_to_oneself", "{}", refused.text);
    server.stop().await;
}
