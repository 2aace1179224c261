//! A stream that ends says why, and where to go on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::events::{Socket, Sse};
use crate::support::installation::Installation;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_ends_its_streams_with_a_reason() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let path = world.path("/events?after=4");
    let (mut stream, mut socket) = (
        Sse::open(&server, &path).await,
        Socket::open(&server, &path).await,
    );
    stream.take(2).await;
    for _ in 0..2 {
        socket.next().await.unwrap();
    }
    server.signal(Signal::SIGTERM);
    let last = stream.next().await.unwrap();
    assert_eq!((last.event.as_str(), last.id), ("dropped", 6));
    assert_eq!(
        (&last.data["reason"], &last.data["position"]),
        (&json!("draining"), &json!(6))
    );
    assert_eq!(stream.next().await, None);
    assert_eq!(socket.next().await.unwrap()["dropped"]["reason"], "draining");
    let close = socket.next().await.unwrap_err().unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "draining"));
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenants_log_can_be_read_but_not_followed() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let path = world.path("/events?after=head");
    let (mut stream, mut socket) = (
        Sse::open(&server, &path).await,
        Socket::open(&server, &path).await,
    );
    let suspend = world.path("/suspend");
    server.post(&suspend, &json!({"reason": "incident"})).await.good();
    let last = stream.next().await.unwrap();
    assert_eq!(
        (last.event.as_str(), &last.data["reason"]),
        ("dropped", &json!("tenant_suspended"))
    );
    assert_eq!(
        socket.next().await.unwrap()["dropped"]["reason"],
        "tenant_suspended"
    );
    assert_eq!(u16::from(socket.next().await.unwrap_err().unwrap().code), 1008);

    let refused = Sse::refused(&server, &path).await;
    assert_eq!((refused.problem().as_str(), refused.status), ("conflict", 409));
    assert_eq!(refused.json()["code"], "tenant_suspended");
    assert_eq!(
        server.get(&world.path("/events")).await.good()["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    server
        .post(&world.path("/resume"), &serde_json::Value::Null)
        .await
        .good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_dropped_as_slow_and_the_others_go_on() {
    let installation = Installation::with("[subscriptions]\nwindow_events_max = 64\n").await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let path = world.path("/events?after=head");
    let (mut slow, mut quick) = (Sse::open(&server, &path).await, Sse::open(&server, &path).await);
    // What the sockets between them hold has to be filled first.
    let scopes: Vec<String> = (0..128)
        .map(|n| format!("{n:0>4}.{}:read", "x".repeat(50)))
        .collect();
    let mut card = crate::support::world::agent_card("wide", &["demo-small"]);
    card["tool_scopes"] = json!(scopes);
    let mut read = 0;
    let limit = 20_000;
    let dropped = loop {
        let calls = (0..8).map(|n| {
            let mut card = card.clone();
            card["name"] = json!(format!("wide {}", read + n));
            let (server, path) = (&server, world.path("/agents"));
            async move { server.post(&path, &card).await.good() }
        });
        futures::future::join_all(calls).await;
        quick.take(8).await;
        read += 8;
        if metric(&server, "slow").await > 0.0 || read >= limit {
            break read;
        }
        // Poked now and then: a frame is taken, and with it comes what the window has moved on by.
        slow.next().await;
    };
    assert!(dropped < limit, "dropped before everything was read");
    let mut last = slow.next().await.unwrap();
    while last.event != "dropped" {
        last = slow.next().await.unwrap();
    }
    assert_eq!(last.data["reason"], "slow");
    assert_eq!(slow.next().await, None);
}

async fn metric(server: &crate::support::served::Served, reason: &str) -> f64 {
    let figures = server.get("/metrics").await.text;
    let line = format!("counterfoil_subscriptions_ended_total{{reason=\"{reason}\"}} ");
    figures
        .lines()
        .find_map(|found| found.strip_prefix(&line))
        .map_or(0.0, |value| value.parse().unwrap())
}
