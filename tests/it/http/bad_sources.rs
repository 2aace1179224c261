//! KRI sources that are wrong: refused when they are configured where that shows, else when they are tested, and a run
//! ends as failed, with the same code.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::installation::Installation;
use crate::support::served::Served;
use crate::support::world::World;

/// A world with one KRI, and addresses that take connections and never answer, and that take none.
struct Bench {
    server: Served,
    world: World,
    silent: TcpListener,
    dead: u16,
    pages: MockServer,
    _installation: Installation,
}

impl Bench {
    async fn new() -> Self {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = gone.local_addr().unwrap().port();
        drop(gone);
        let pages = MockServer::start().await;
        let allowed = format!(
            "[kri.fetch]\ntotal_timeout_ms = 1000\nconnect_timeout_ms = 500\n\
             allow_private = [\"{}\", \"127.0.0.1:{dead}\", \"{}\"]\n",
            silent.local_addr().unwrap(),
            pages.address()
        );
        let installation = Installation::with(&allowed).await;
        let server = installation.serve().await;
        let world = World::new(&server, &["demo-small"]).await;
        let definition = json!({"name": "Failed settlement rate", "unit": "%", "schedule": {"frequency": "daily"},
            "bands": {"direction": "higher_is_worse", "upper": {"amber": "2", "red": "5"}}});
        let kri = json!({"id": "failed_settlement_rate", "definition": definition});
        server.post(&world.path("/kris"), &kri).await.good();
        Self {
            server,
            world,
            silent,
            dead,
            pages,
            _installation: installation,
        }
    }

    async fn configure(&self, config: &Value) -> crate::support::reply::Reply {
        let source = json!({"kri": "failed_settlement_rate", "config": config});
        self.server.post(&self.world.path("/kri-sources"), &source).await
    }

    /// The configuration of a source that fetches this text.
    async fn page(&self, number: usize, text: &str, kind: &str) -> Value {
        let place = format!("/pages/{number}");
        let answer = ResponseTemplate::new(200).set_body_string(text);
        Mock::given(path(&place))
            .respond_with(answer)
            .mount(&self.pages)
            .await;
        let url = format!("{}{place}", self.pages.uri());
        match kind {
            "csv" => json!({"kind": "csv", "column": "rate", "aggregate": "mean", "url": url}),
            _ => fetched(url, "/a"),
        }
    }

    async fn events(&self) -> usize {
        let page = self
            .server
            .get(&self.world.path("/events?limit=500"))
            .await
            .good();
        page["items"].as_array().unwrap().len()
    }

    /// Waits until the run has ended, and answers its last event.
    async fn ended(&self, run: &str) -> (String, Value) {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let page = self
                .server
                .get(&self.world.path(&format!("/events?aggregate=kri_run/{run}")))
                .await
                .good();
            let last = page["items"].as_array().unwrap().last().unwrap().clone();
            let event_type = last["type"].as_str().unwrap().to_owned();
            if event_type == "KriRunCompleted" || event_type == "KriRunFailed" {
                let envelope: Value = serde_json::from_str(last["envelope"].as_str().unwrap()).unwrap();
                return (event_type, envelope["payload"].clone());
            }
            assert!(Instant::now() < limit, "the run does not end: {event_type}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn csv(text: &str) -> Value {
    json!({"kind": "csv", "column": "rate", "aggregate": "mean", "text": text})
}

fn fetched(url: impl std::fmt::Display, pointer: &str) -> Value {
    json!({"kind": "http_json", "url": url.to_string(), "pointer": pointer})
}

/// It would be in the log for good: a finding of every audit, and what no backup could be proven with.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_cannot_name_a_document_that_did_not_come_with_it() {
    let bench = Bench::new().await;
    let document = json!({"digest": "a".repeat(64), "bytes": 4});
    let config = json!({"kind": "csv", "column": "rate", "aggregate": "last", "document": document});
    let refused = bench.configure(&config).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("/config/document"), "{}", refused.text);
    let sources = bench.server.get(&bench.world.path("/kri-sources")).await.good();
    assert_eq!(sources["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_can_never_work_is_refused_at_once_and_not_kept() {
    let bench = Bench::new().await;
    let before = bench.events().await;
    let https = "https://risk.example/figures.json";
    let mut both = csv("rate\n1\n");
    both["url"] = json!(https);
    for (name, config, status) in [
        ("no kind", json!({"text": "a"}), 400),
        ("an unknown kind", json!({"kind": "oracle"}), 400),
        ("text and address", both, 400),
        ("a pointer without a slash", fetched(https, "figure"), 400),
        ("a pointer with a wrong escape", fetched(https, "/a~2b"), 400),
        (
            "a pointer without an end",
            fetched(https, &"/a".repeat(5_000)),
            400,
        ),
        ("a pointer with U+0000", fetched(https, "/a\u{0}"), 400),
        (
            "a scheme that is not HTTP",
            fetched("ftp://risk.example/x", "/a"),
            422,
        ),
        ("a file", fetched("file:///etc/passwd", "/a"), 422),
        (
            "credentials in the address",
            fetched("https://user:secret@risk.example/x", "/a"),
            422,
        ),
        ("a private address", fetched("http://10.0.0.1/x", "/a"), 422),
        ("this machine", fetched("http://127.0.0.1:1/x", "/a"), 422),
        (
            "this machine, spelt oddly",
            fetched("http://0x7f000001/x", "/a"),
            422,
        ),
        (
            "the metadata service",
            fetched("http://169.254.169.254/latest", "/a"),
            422,
        ),
        (
            "a text beyond what a document holds",
            csv(&"1\n".repeat(600_000)),
            400,
        ),
    ] {
        let reply = bench.configure(&config).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text);
        let problem = if status == 400 { "invalid-body" } else { "refused" };
        let found = reply.problem();
        assert!(
            found == problem || (status == 400 && found == "malformed-json"),
            "{name}: {}",
            reply.text
        );
    }
    let nobody = json!({"kri": "unknown", "config": csv("rate\n1\n")});
    assert_eq!(
        bench
            .server
            .post(&bench.world.path("/kri-sources"), &nobody)
            .await
            .problem(),
        "refused"
    );
    assert_eq!(bench.events().await, before, "nothing was recorded");
}

/// CSV documents that are wrong, and the code that says how.
fn wrong_documents() -> Vec<(&'static str, String, &'static str)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("no rows", text("rate\n"), "csv_no_rows"),
        ("no such column", text("share\n1\n"), "csv_column_missing"),
        (
            "the column twice",
            text("rate,rate\n1,2\n"),
            "csv_column_ambiguous",
        ),
        ("a value is missing", text("day,rate\n1,\n"), "value_missing"),
        ("a word for a value", text("rate\nmany\n"), "value_invalid"),
        (
            "a value beyond all bounds",
            format!("rate\n{}\n", "9".repeat(400)),
            "value_invalid",
        ),
        ("not a number", text("rate\nNaN\n"), "value_invalid"),
        ("a formula", text("rate\n=1+1\n"), "value_invalid"),
        ("a line that is too short", text("day,rate\n1\n"), "csv_malformed"),
        ("a quote that never ends", text("rate\n\"1\n"), "csv_malformed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_csv_text_is_refused_when_it_is_given() {
    let bench = Bench::new().await;
    let before = bench.events().await;
    for (name, text, code) in wrong_documents() {
        let reply = bench.configure(&csv(&text)).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (422, "refused"),
            "{name}: {}",
            reply.text
        );
        assert_eq!(reply.json()["code"], code, "{name}: {}", reply.text);
    }
    assert_eq!(bench.events().await, before, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_where_it_is_fetched_is_named_by_a_test_and_ends_a_run_with_the_same_code() {
    let bench = Bench::new().await;
    let mut sources = vec![
        (
            "nobody there",
            fetched(format!("http://127.0.0.1:{}/x", bench.dead), "/a"),
            "connect_failed",
        ),
        (
            "somebody who never answers",
            fetched(format!("http://{}/x", bench.silent.local_addr().unwrap()), "/a"),
            "timed_out",
        ),
        (
            "a page that is not there",
            fetched(format!("{}/nothing", bench.pages.uri()), "/a"),
            "http_status",
        ),
    ];
    for (number, (name, text, code)) in wrong_documents().into_iter().enumerate() {
        sources.push((name, bench.page(number, &text, "csv").await, code));
    }
    for (number, (name, text, pointer, code)) in [
        ("not JSON", "<html>", "/a", "payload_not_json"),
        ("nothing at the pointer", r#"{"b":1}"#, "/a", "pointer_not_found"),
        (
            "a pointer into a number",
            r#"{"a":1}"#,
            "/a/b/c",
            "pointer_not_found",
        ),
        (
            "an index beyond the end",
            r#"[1]"#,
            "/99999999999999999999",
            "pointer_not_found",
        ),
        ("an object for a value", r#"{"a":{}}"#, "/a", "value_not_a_number"),
        (
            "a value beyond all bounds",
            r#"{"a":1e400}"#,
            "/a",
            "value_invalid",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut config = bench.page(100 + number, text, "http_json").await;
        config["pointer"] = json!(pointer);
        sources.push((name, config, code));
    }
    let mut wrong = Vec::new();
    for (name, config, code) in sources {
        let source = bench.configure(&config).await.good()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let of_source = |verb: &str| bench.world.path(&format!("/kri-sources/{source}/{verb}"));
        let tested = bench.server.post(&of_source("test"), &Value::Null).await;
        if (tested.status, &tested.json()["code"]) != (422, &json!(code)) {
            wrong.push(format!("{name}: a test says {} {}", tested.status, tested.text));
        }
        let run = bench.server.post(&of_source("runs"), &json!({})).await;
        assert_eq!(run.status, 202, "{name}: {}", run.text);
        let (event_type, payload) = bench.ended(run.json()["id"].as_str().unwrap()).await;
        if (event_type.as_str(), &payload["code"]) != ("KriRunFailed", &json!(code)) {
            wrong.push(format!("{name}: the run ended as {event_type} {payload}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
