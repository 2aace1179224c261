//! `Counterfoil-Wait-For`: a query answers once what it asks for is folded, or says why it does not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::fair_places::Full;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_projections::engine::{WaitError, WaitFor, WaitOutcome, WaitingRoom};
use reqwest::Method;
use serde_json::json;
use sqlx::{ConnectOptions, Connection};

use crate::support::installation::Installation;
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

async fn wait(server: &Served, path: &str, wanted: &str) -> Reply {
    Reply::of(
        server
            .request(Method::GET, path)
            .header("counterfoil-wait-for", wanted),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_waits_for_a_commands_position_sees_what_it_did() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let (ours, theirs) = (
        World::new(&server, &["demo-small"]).await,
        World::new(&server, &["demo-small"]).await,
    );
    for n in 0..20 {
        let made = server
            .post(
                &ours.path("/agents"),
                &agent_card(&format!("agent {n}"), &["demo-small"]),
            )
            .await;
        let position = made.header("counterfoil-position").to_owned();
        let receipt = &made.json()["receipts"][0];
        assert_eq!(position, format!("{}:{}", ours.tenant, receipt["position"]));
        let id = made.good()["id"].as_str().unwrap().to_owned();
        let read = wait(&server, &ours.path(&format!("/agents/{id}")), &position)
            .await
            .good();
        assert_eq!(
            (&read["id"], &read["name"]),
            (&json!(id), &json!(format!("agent {n}")))
        );
    }
    // Several at once, of several logs, as one who changed both asks.
    let platform = counterfoil_events::ids::TenantId::PLATFORM;
    let both = format!("{platform}:3, {}:5", ours.tenant);
    assert_eq!(wait(&server, &ours.path("/agents"), &both).await.status, 200);
    // How far another's log reaches is not to be found out so: one that is there is as one that is not.
    let mut told = Vec::new();
    for (foreign, at) in [
        (theirs.tenant, 3),
        (theirs.tenant, 9_999),
        (TenantId::generate(), 3),
    ] {
        let reply = wait(&server, &ours.path("/agents"), &format!("{foreign}:{at}")).await;
        let mut body = reply.json();
        body.as_object_mut().unwrap().remove("instance");
        told.push((reply.status, body));
    }
    assert_eq!(told[0].0, 400, "{told:?}");
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    for wrong in [
        "x",
        "1:2",
        &format!("{}", ours.tenant),
        &format!("{}:-1", ours.tenant),
        &vec![both; 5].join(","),
    ] {
        assert_eq!(
            wait(&server, &ours.path("/agents"), wrong).await.problem(),
            "malformed-request",
            "{wrong}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_waits_in_vain_says_where_the_read_model_stands() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let reached = format!("{}:6", world.tenant);
    wait(&server, &world.path("/agents"), &reached).await.good();
    for beyond in [format!("{}:7", world.tenant)] {
        let reply = wait(&server, &world.path("/agents"), &beyond).await;
        assert_eq!(
            (
                reply.status,
                reply.problem().as_str(),
                reply.header("retry-after")
            ),
            (503, "unavailable", "1")
        );
        let body = reply.json();
        assert_eq!(body["code"], "lagging", "{body}");
        assert!(body["detail"].as_str().unwrap().contains(&beyond), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_waits_for_what_was_parked_is_told_so_and_others_are_not_held_up() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    wait(&server, &world.path("/agents"), &format!("{}:6", world.tenant))
        .await
        .good();
    let park = "INSERT INTO counterfoil.parked_events (tenant_id, projection, version, position, aggregate, aggregate_id, type, reason) \
                SELECT $1, 'agent', version, 2, 'agent', 'x', 'AgentKeyIssued', 'a test parked it' \
                FROM counterfoil.projection_versions WHERE projection = 'agent' AND state = 'live'";
    let mut admin = installation.admin().connect().await.unwrap();
    let parked = sqlx::query(park)
        .bind(world.tenant.0)
        .execute(&mut admin)
        .await
        .unwrap();
    assert_eq!(parked.rows_affected(), 1);
    admin.close().await.unwrap();
    let reply = wait(&server, &world.path("/agents"), &format!("{}:2", world.tenant)).await;
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (503, Some("parked")),
        "{}",
        reply.text
    );
    for (path, position) in [("/agents", 3), ("/policies", 2)] {
        let other = format!("{}:{position}", world.tenant);
        assert_eq!(
            wait(&server, &world.path(path), &other).await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_waits_on_one_connection_and_whoever_finds_no_place_is_told_so() {
    const PLACES: usize = 500;
    const TOO_MANY: usize = 50;
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    // Of all places one tenant has an eighth.
    let room = Arc::new(WaitingRoom::start(&installation.database(), PLACES * 8));
    let wait = |projection: &'static str, position: u64| {
        let (room, tenant) = (Arc::clone(&room), world.tenant);
        let wait = WaitFor {
            tenant,
            position: Position(position),
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        async move { room.wait(tenant, projection, wait, deadline).await }
    };
    // For ten positions that ten commands will reach, half of them in another read model.
    let crowd: Vec<_> = (0..PLACES + TOO_MANY)
        .map(|n| tokio::spawn(wait(["agent", "policy"][n % 2], 7 + n as u64 % 10)))
        .collect();
    // Nobody else can have an answer yet.
    while crowd.iter().filter(|one| one.is_finished()).count() < TOO_MANY {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // All their cursors are looked at by one connection.
    let mut admin = installation.admin().connect().await.unwrap();
    let looking = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                   AND query LIKE '%AS asked (at, tenant_id%'";
    let connections: i64 = sqlx::query_scalar(looking).fetch_one(&mut admin).await.unwrap();
    assert!(
        connections <= 2,
        "one of ours, one of the server's: {connections}"
    );
    admin.close().await.unwrap();
    for n in 0..10 {
        world
            .register_agent(&server, &format!("agent {n}"), &["demo-small"])
            .await;
    }
    let mut crowded = 0;
    for one in crowd {
        match one.await.unwrap() {
            Err(WaitError::Crowded(Full::Tenant(PLACES))) => crowded += 1,
            other => assert_eq!(other, Ok(WaitOutcome::Reached)),
        }
    }
    assert_eq!(crowded, TOO_MANY);
    assert_eq!(
        wait("agent", 7).await,
        Ok(WaitOutcome::Reached),
        "there is room again"
    );
    let (waiting, ()) = tokio::join!(wait("agent", 1_000), room.stop());
    assert_eq!(waiting, Err(WaitError::Stopping));
    server.stop().await;
}
