//! A poisoned event in a running installation: its aggregate waits, everybody else goes on, readers and operators are
//! told, and once the cause is mended a retry catches up.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_projections::engine::live_version;
use serde_json::{Value, json};

use crate::support::api::{Answered, Api, card, make_world};
use crate::support::installation::{Installation, TOKEN};
use crate::support::invariants::Checker;
use crate::support::projections::settled;
use crate::support::serving::Serving;

/// Reads what it wrote: a query that waits for `position`.
async fn read(url: &str, position: &str) -> Answered {
    let answer = reqwest::Client::new()
        .get(url)
        .bearer_auth(TOKEN)
        .header("Counterfoil-Wait-For", position)
        .send()
        .await
        .unwrap();
    Answered {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.bytes().await.unwrap(),
    }
}

/// Gives an agent another card; answers where that stands.
async fn change(url: &str, purpose: &str) -> String {
    let changed = Api::new().send("PUT", url, None, &card(purpose)).await.unwrap();
    changed.good();
    changed.headers["counterfoil-position"]
        .to_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_event_parks_its_aggregate_and_a_retry_catches_up() {
    let installation = Installation::new().await;
    let serving = Serving::start(&installation).await;
    let tenant = make_world(&Api::new(), &serving.url, 1).await.remove(0);
    let agents = format!("{}/v1/tenants/{}/agents", serving.url, tenant.id);
    let healthy = Api::new().post(&agents, card("Stays well")).await;
    let healthy = format!("{agents}/{}", healthy["id"].as_str().unwrap());
    let sick = format!("{agents}/{}", tenant.agent);
    let checker = Checker::of(&installation).await;
    settled(&checker.database).await;

    // Its row is gone: no later event of it can be folded.
    let pool = checker.database.projector();
    let table = format!(
        "read_agent_v{}.agents",
        live_version(pool, "agent").await.unwrap().version
    );
    let take = format!("DELETE FROM {table} a WHERE key = $1 RETURNING to_json(a)::text");
    let row: String = sqlx::query_scalar(&take)
        .bind(&tenant.agent)
        .fetch_one(pool)
        .await
        .unwrap();
    let poisoned = change(&sick, "Falls ill").await;
    let well = change(&healthy, "Goes on").await;
    read(&healthy, &well).await.good();
    let told = read(&sick, &poisoned).await;
    assert_eq!(
        (told.status, told.json()["code"].clone()),
        (503, json!("parked")),
        "{}",
        told.json()
    );

    let listed = installation.run(&["projections", "parked", "--json"]).await;
    assert_eq!(listed.status.code(), Some(1), "parked events are a finding");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("AgentChanged") && listed.contains(&tenant.id.to_string()),
        "{listed}"
    );
    let (owner, position) = poisoned.split_once(':').unwrap();
    let retry = ["projections", "parked", "agent", owner, position];
    let early = installation.run(&retry).await;
    let said = String::from_utf8_lossy(&early.stdout).into_owned();
    assert!(
        !said.contains("1 events folded"),
        "the cause is not mended: {said}"
    );
    assert_eq!(read(&sick, &poisoned).await.status, 503);

    let give = format!("INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, $1::json)");
    sqlx::query(&give).bind(row).execute(pool).await.unwrap();
    installation.good(&retry).await;
    let mended: Value = read(&sick, &poisoned).await.good();
    assert_eq!(mended["id"], json!(tenant.agent), "{mended}");
    checker.everything(&[]).await;
    serving.stop().await;
}
