//! The embedded servers, for real: reachable, found again, exclusive, restarted, and gone when we are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::stack::{create_database, shared_stack};
use async_nats::jetstream;
use counterfoil::stack::Endpoints;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection};

async fn jetstream_of(endpoints: &Endpoints) -> jetstream::Context {
    jetstream::new(
        endpoints
            .nats_options()
            .connect(&endpoints.nats_url)
            .await
            .unwrap(),
    )
}

async fn ping_redis(endpoints: &Endpoints) -> String {
    let client = redis::Client::open(endpoints.redis_url.expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PING").query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn all_three_servers_answer() {
    let endpoints = shared_stack().endpoints();

    let mut connection = create_database("all_three_servers_answer")
        .await
        .connect()
        .await
        .unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(name, "all_three_servers_answer");
    connection.close().await.unwrap();

    let config = jetstream::stream::Config {
        name: "ALL_THREE".into(),
        subjects: vec!["all_three.>".into()],
        ..Default::default()
    };
    let jetstream = jetstream_of(endpoints).await;
    jetstream.create_stream(config).await.unwrap();
    let ack = jetstream
        .publish("all_three.a", "one".into())
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(ack.sequence, 1);

    assert_eq!(ping_redis(endpoints).await, "PONG");
}
