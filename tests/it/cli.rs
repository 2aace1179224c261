//! The command line of the real program: exit codes, what goes to stdout and what to stderr.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

use counterfoil::http::health::Readiness;
use counterfoil::http::{
    Authenticators, Dispatcher, Group, IntakeLimits, Lifecycle, RouteTable, Server, State, health,
};

use crate::support::binary::binary;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env_remove("COUNTERFOIL_CONFIG")
        .env_remove("COUNTERFOIL_URL");
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A process that is ready as far as these parts are; runs until the lifecycle drains.
async fn serve(readiness: &Readiness) -> (String, Lifecycle) {
    let lifecycle = Lifecycle::new();
    let routes = health::routes(&State::new(readiness.clone()));
    let table = RouteTable::build(vec![Group::new(routes)]).unwrap();
    let http = counterfoil::config::HttpConfig::default();
    let limits: IntakeLimits = http.intake_limits();
    let dispatcher = Dispatcher::new(table, Authenticators::default(), lifecycle.clone(), limits);
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(any, http.server_limits(), dispatcher, lifecycle.clone())
        .await
        .unwrap();
    let url = format!("http://{}", server.address());
    tokio::spawn(server.run());
    (url, lifecycle)
}

async fn status(url: &str, more: &[&str]) -> Output {
    let arguments: Vec<String> = ["status", "--url", url]
        .iter()
        .chain(more)
        .map(ToString::to_string)
        .collect();
    let run = move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[test]
fn openapi_prints_the_same_document_each_time() {
    let first = run(&["openapi"]);
    assert_eq!(first.status.code(), Some(0));
    assert_eq!(first.stdout, run(&["openapi"]).stdout);
    let document: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/ready"]["get"].is_object());
}

#[test]
fn wrong_usage_is_2_and_says_what_was_expected() {
    for arguments in [
        &["no-such-command"][..],
        &["--set", "novalue", "openapi"],
        &["status", "--no-such-flag"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.stdout.is_empty() && stderr(&output).contains("error:"),
            "{arguments:?}"
        );
    }
}

#[test]
fn nobody_who_answers_is_3_and_says_what_to_do() {
    // Port 1 is reserved, and nobody listens there.
    let output = run(&["status", "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    assert!(
        stderr(&output).contains("Is `counterfoil serve` running?"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_each_part_and_exits_1_when_a_required_one_is_down() {
    let readiness = Readiness::new();
    let (postgres, redis) = (readiness.required("postgres"), readiness.optional("redis"));
    postgres.ok();
    redis.degraded("Redis does not answer");
    let (url, lifecycle) = serve(&readiness).await;

    let good = status(&url, &[]).await;
    assert_eq!(good.status.code(), Some(0), "degraded is ready");
    let text = stdout(&good);
    assert!(text.starts_with("COMPONENT  HEALTH    SINCE"), "{text}");
    assert!(
        text.contains("redis      degraded") && text.ends_with("\ndegraded\n"),
        "{text}"
    );

    postgres.down("connection refused");
    let down = status(&url, &["--json"]).await;
    assert_eq!(down.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(stdout(&down)).unwrap();
    assert_eq!(json["health"], "down");
    assert_eq!(json["components"]["postgres"]["reason"], "connection refused");
    lifecycle.drain();
}
