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
fn wrong_usage_is_json_for_those_who_ask_for_json() {
    for (arguments, said) in [
        (&["no-such-command", "--json"][..], "unrecognized subcommand"),
        (&["--json"], "requires a subcommand"),
        (&["--json", "audit"], "a command is missing"),
        (&["--json", "audit", "export"], "--tenant"),
        (&["status", "--json", "--no-such-flag"], "--no-such-flag"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let error: serde_json::Value = serde_json::from_str(stderr(&output)).unwrap();
        assert!(error["error"].as_str().unwrap().contains(said), "{error}");
        assert_eq!(error["exit"], 2);
        assert!(error["problem"].is_null());
    }
    for asked_for in [&["--help", "--json"][..], &["--version", "--json"]] {
        let output = run(asked_for);
        assert_eq!(output.status.code(), Some(0), "{asked_for:?}");
        assert!(stdout(&output).contains("counterfoil") || stdout(&output).contains("Usage"));
    }
}

#[test]
fn a_version_of_something_is_not_the_programs() {
    let shown = run(&["policies", "show", "tenant", "--version", "1"]);
    assert_eq!(shown.status.code(), Some(2));
    assert!(shown.stdout.is_empty(), "{}", stdout(&shown));
    assert!(stderr(&shown).contains("<VERSION>"), "{}", stderr(&shown));
}

#[test]
fn what_is_no_number_is_refused_in_plain_words() {
    let tenant = ["--tenant", "01933b5e-0000-7000-8000-000000000001"];
    for (arguments, expected) in [
        (&["up", "--port", "http"][..], "from 0 to 65535"),
        (&["audit", "export", "--from", "zero", "--out", "x"], "from 1 on"),
        (&["audit", "verify", "--from", "0"], "from 1 on"),
        (&["policies", "show", "tenant", "first"], "from 1 to 4294967295"),
        (&["agents", "list", "--limit", "few"], "from 1 on"),
    ] {
        let output = run(&[arguments, if arguments[0] == "up" { &[] } else { &tenant[..] }].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = format!("expected a whole number {expected}");
        assert!(
            stderr(&output).contains(&said),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn what_does_not_answer_is_named_with_its_address() {
    let place = tempfile::tempdir().unwrap();
    let key = place.path().join("key.pepper");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    let pepper = format!("auth.key_pepper_file={}", key.display());
    for arguments in [
        &["migrate"][..],
        &["serve"],
        &["init", "--set", "postgres.admin_user=me"],
    ] {
        let away = [
            "--set",
            "postgres.port=1",
            "--set",
            "postgres.tls=disable",
            "--set",
            &pepper,
        ];
        let output = run(&[arguments, &away].concat());
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains("Postgres at 127.0.0.1:1 does not answer"), "{said}");
    }
    let output = run(&["status", "--url", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("expected an address such as http://127.0.0.1:8080"),
        "{said}"
    );
}

/// `make demo` looks before it builds.
#[test]
fn the_demos_look_at_its_port_tells_a_taken_one_from_a_free_one() {
    if Command::new("perl").arg("-v").output().is_err() {
        return; // Then it leaves the question to `up`.
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/port-is-free.sh");
    let look = |address: &str| Command::new("sh").args([script, address]).output().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let found = look(&address);
    assert_eq!(found.status.code(), Some(1));
    let said = stderr(&found);
    assert!(
        said.contains(&address) && said.contains("make demo ADDRESS="),
        "{said}"
    );
    // Another of the machine's own addresses, or where it has none, one of which there is no telling.
    let free = format!("127.7.7.7:{}", taken.local_addr().unwrap().port());
    for free in [&free[..], "127.0.0.1:0", "nonsense"] {
        assert_eq!(look(free).status.code(), Some(0), "{free}");
    }
}

#[test]
fn up_names_an_address_that_is_in_use_before_it_starts_anything() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let set = format!("http.address={address}");
    let output = run(&["up", "--data", data.to_str().unwrap(), "--set", &set]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains(&address) && said.contains("--port"), "{said}");
    assert!(!data.join("postgres").exists());
}

#[test]
fn nobody_who_answers_is_3_and_says_what_to_do() {
    // Port 1 is reserved, and nobody listens there.
    let output = run(&["status", "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    assert!(
        stderr(&output).contains("Is `counterfoil up` (or `counterfoil serve`) running?"),
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
