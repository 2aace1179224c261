//! A poisoned event in a running installation: its aggregate waits, everybody else goes on, readers and operators are
//! told, and once the cause is mended a retry catches up.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_projections::engine::live_version;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::installation::Installation;
use crate::support::invariants::Checker;
use crate::support::projections::settled;
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

/// Reads what it wrote: a query that waits for `position`.
async fn read(server: &Served, path: &str, position: &str) -> Reply {
    let request = server.request(Method::GET, path);
    Reply::of(request.header("Counterfoil-Wait-For", position)).await
}

/// Gives an agent another card; answers where that stands.
async fn change(server: &Served, path: &str, name: &str) -> String {
    let request = server.request(Method::PUT, path);
    let changed = Reply::of(request.json(&agent_card(name, &["demo-small"]))).await;
    changed.good();
    changed.header("counterfoil-position").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_event_parks_its_aggregate_and_a_retry_catches_up() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let healthy = world.register_agent(&server, "stays well", &["demo-small"]).await;
    let healthy = world.path(&format!("/agents/{healthy}"));
    let sick = world.path(&format!("/agents/{}", world.agent));
    let checker = Checker::of(&installation).await;
    settled(&checker.database).await;

    // Its row is gone: no later event of it can be folded.
    let pool = checker.database.projector();
    let table = format!(
        "read_agent_v{}.agents",
        live_version(pool, "agent").await.unwrap().version
    );
    let take = format!(
        "WITH taken AS (DELETE FROM {table} a WHERE key = $1 RETURNING to_json(a)::text), \
         counted AS (UPDATE counterfoil.projection_versions SET steps = steps + 1 WHERE projection = 'agent') \
         SELECT * FROM taken"
    );
    let row: String = sqlx::query_scalar(&take)
        .bind(&world.agent)
        .fetch_one(pool)
        .await
        .unwrap();
    let poisoned = change(&server, &sick, "falls ill").await;
    let well = change(&server, &healthy, "goes on").await;
    read(&server, &healthy, &well).await.good();
    let told = read(&server, &sick, &poisoned).await;
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
        listed.contains("AgentChanged") && listed.contains(&world.tenant.to_string()),
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
    assert_eq!(read(&server, &sick, &poisoned).await.status, 503);

    let give = format!("INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, $1::json)");
    sqlx::query(&give).bind(row).execute(pool).await.unwrap();
    installation.good(&retry).await;
    let mended: Value = read(&server, &sick, &poisoned).await.good();
    assert_eq!(mended["id"], json!(world.agent), "{mended}");
    checker.everything(&[]).await;
    server.stop().await;
}
