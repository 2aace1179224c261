//! Small questions to real servers: is it there, and does it remember?
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_nats::jetstream;
use counterfoil::stack::Endpoints;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, Connection};

/// JetStream over a new connection.
pub async fn jetstream_of(endpoints: &Endpoints) -> jetstream::Context {
    jetstream::new(
        endpoints
            .nats_options()
            .connect(&endpoints.nats_url)
            .await
            .unwrap(),
    )
}

/// What Redis answers to PING over a new connection.
pub async fn ping_redis(endpoints: &Endpoints) -> String {
    let client = redis::Client::open(endpoints.redis_url.expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PING").query_async(&mut connection).await.unwrap()
}

/// Leaves a row in Postgres and a message in JetStream.
pub async fn leave_a_mark(endpoints: &Endpoints) {
    let mut connection = endpoints.postgres_admin().connect().await.unwrap();
    sqlx::query("CREATE TABLE marks AS SELECT 'here' AS mark")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    let stream = jetstream::stream::Config {
        name: "MARKS".into(),
        subjects: vec!["marks".into()],
        ..Default::default()
    };
    let jetstream = jetstream_of(endpoints).await;
    jetstream.create_stream(stream).await.unwrap();
    jetstream
        .publish("marks", "here".into())
        .await
        .unwrap()
        .await
        .unwrap();
}

/// Asserts that what [`leave_a_mark`] left is there.
pub async fn find_the_mark(endpoints: &Endpoints) {
    let mut connection = endpoints.postgres_admin().connect().await.unwrap();
    let marks: Vec<String> = sqlx::query_scalar("SELECT mark FROM marks")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(marks, ["here"]);
    connection.close().await.unwrap();

    let stream = jetstream_of(endpoints).await.get_stream("MARKS").await.unwrap();
    assert_eq!(stream.get_raw_message(1).await.unwrap().payload, "here");
}
