//! The canary (I9): a mark is put into whatever a client, a provider or a source can give; then every copy is searched
//! for it: tables, stream, export, log lines of the process at debug level, figures, and the errors that were answered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
pub mod copies;
mod outside;

use secrecy::ExposeSecret;

use self::client::Client;
use self::copies::found;
use self::outside::MODELS;
use crate::support::installation::{Installation, TOKEN};
use crate::support::ledger::PASSWORD;
use crate::support::stack::shared_stack;
use crate::support::world::World;

const MARK: &str = "zq7canary";

fn mark(what: &str) -> String {
    format!("{MARK}-{what}")
}

/// The mark, and the secrets of the process and its client.
fn marks_and_secrets(key: &str) -> Vec<String> {
    let endpoints = shared_stack().endpoints();
    // `cfk_<prefix>_<secret>`; a secret may hold underscores itself.
    let secret_of = |key: &str| key.splitn(3, '_').last().unwrap().to_owned();
    vec![
        MARK.to_owned(),
        secret_of(key),
        secret_of(TOKEN),
        PASSWORD.to_owned(),
        endpoints.nats_password.expose_secret().to_owned(),
        endpoints.postgres_password.expose_secret().to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_content_nor_secrets_are_in_any_copy_log_or_error() {
    let outside = outside::start().await;
    let installation = Installation::made(|directory| outside::configuration(&outside, directory)).await;
    let server = installation.serve().await;
    let models: Vec<&str> = MODELS.into_iter().chain(["demo-small"]).collect();
    let world = World::new(&server, &models).await;
    world.add_kri_source(&server).await;

    let mut client = Client::of(&server);
    client.as_agent(&world.key).await;
    client.as_nobody(&world).await;
    client.as_risk_officer(&server, &world, &outside).await;
    copies::until_runs_ended(&installation, &world).await;
    let figures = server.get("/metrics").await.text;
    server.stop().await;
    let log = std::fs::read_to_string(installation.log_file()).unwrap();
    assert!(log.contains("\"level\":\"DEBUG\""), "{log}");
    let export = installation.directory().join("export.jsonl");
    let id = world.tenant.to_string();
    installation
        .good(&[
            "audit",
            "export",
            "--tenant",
            &id,
            "--out",
            export.to_str().unwrap(),
        ])
        .await;

    let copies = [
        ("tables", copies::tables(&installation).await),
        ("stream", copies::messages(&installation).await),
        ("export", std::fs::read_to_string(export).unwrap()),
        ("log", log),
        ("figures", figures),
        ("errors", client.errors.join("\n")),
    ];
    let wanted = marks_and_secrets(&world.key);
    let all: Vec<String> = copies
        .iter()
        .flat_map(|(place, text)| found(place, text, &wanted))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}
