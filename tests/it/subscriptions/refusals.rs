//! What a stream or page is refused for, and that a refusal says what to do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use counterfoil_events::ids::TenantId;
use reqwest::Method;

use crate::support::events::{Socket, Sse};
use crate::support::installation::Installation;
use crate::support::reply::Reply;
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_selection_names_its_parameter() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    for (query, field) in [
        ("after=x", "after"),
        ("after=-1", "after"),
        ("after=7", "after"),
        ("after=1&cursor=31", "after"),
        ("types=Nonsense", "types"),
        ("aggregate=nonsense/1", "aggregate"),
    ] {
        for accept in ["text/event-stream", "application/json"] {
            let request = server.request(Method::GET, &world.path(&format!("/events?{query}")));
            let reply = Reply::of(request.header("accept", accept)).await;
            assert_eq!(
                (reply.problem().as_str(), reply.status),
                ("invalid-parameter", 400),
                "{query}"
            );
            assert_eq!(reply.json()["errors"][0]["field"], field, "{query}");
        }
        assert_eq!(
            Socket::try_open(&server, &world.path(&format!("/events?{query}")))
                .await
                .err(),
            Some(400)
        );
    }
    for query in ["limit=0", "limit=501", "cursor=zz", "offset=1", "after=1&after=2"] {
        let reply = server.get(&world.path(&format!("/events?{query}"))).await;
        assert_eq!(reply.problem(), "invalid-parameter", "{query}");
    }
    let reply = Sse::refused(&server, &world.path("/events?limit=5")).await;
    assert_eq!(reply.problem(), "invalid-parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_follows_a_log_that_is_not_there_or_without_the_right_to() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let unknown = format!("/v1/tenants/{}/events", TenantId::generate());
    assert_eq!(Sse::refused(&server, &unknown).await.problem(), "not-found");
    assert_eq!(
        server.get("/v1/tenants/x/events").await.problem(),
        "invalid-parameter"
    );
    let url = format!("{}{}", server.url, world.path("/events"));
    let stranger = Reply::of(
        reqwest::Client::new()
            .get(&url)
            .header("accept", "text/event-stream"),
    )
    .await;
    assert_eq!(
        (stranger.problem().as_str(), stranger.status),
        ("unauthenticated", 401)
    );
    let agent = Reply::of(reqwest::Client::new().get(&url).bearer_auth(&world.key)).await;
    assert_eq!((agent.problem().as_str(), agent.status), ("forbidden", 403));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_of_streams_refuses_with_when_to_come_back_and_a_place_given_back_is_free() {
    let limits = "[subscriptions]\nstreams_per_tenant_max = 2\nstreams_per_principal_max = 3\n";
    let installation = Installation::with(limits).await;
    let server = installation.serve().await;
    let (a, b) = (
        World::new(&server, &["demo-small"]).await,
        World::new(&server, &["demo-small"]).await,
    );
    let path = |world: &World| world.path("/events?after=head");
    let (first, _second) = (
        Sse::open(&server, &path(&a)).await,
        Socket::open(&server, &path(&a)).await,
    );
    let full = Sse::refused(&server, &path(&a)).await;
    assert_eq!(
        (full.problem().as_str(), full.status, full.header("retry-after")),
        ("too-many-streams", 429, "5")
    );
    assert_eq!(Socket::try_open(&server, &path(&a)).await.err(), Some(429));
    let _third = Sse::open(&server, &path(&b)).await;
    let full = Sse::refused(&server, &path(&b)).await;
    assert_eq!((full.problem().as_str(), full.status), ("too-many-streams", 429));
    assert!(
        full.json()["detail"]
            .as_str()
            .unwrap()
            .starts_with("you have 3 event streams open")
    );
    drop(first);
    // The server sees that the client has gone when it sees the connection close.
    let limit = Instant::now() + Duration::from_secs(60);
    while Sse::status(&server, &path(&b)).await == 429 {
        assert!(Instant::now() < limit, "the place is free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_holds_no_more_streams_says_that_it_is_full() {
    let installation = Installation::with("[subscriptions]\nstreams_max = 1\n").await;
    let server = installation.serve().await;
    let path = format!("/v1/tenants/{}/events", TenantId::PLATFORM);
    let _only = Sse::open(&server, &path).await;
    let full = Sse::refused(&server, &path).await;
    assert_eq!(
        (full.problem().as_str(), full.status, full.header("retry-after")),
        ("unavailable", 503, "5")
    );
    assert_eq!(full.json()["code"], "too_many_streams");
    server.get(&path).await.good();
}
