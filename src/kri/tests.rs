//! What every connector promises, tried on all of them, and the texts that users see.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use counterfoil_events::ids::{PayloadDigest, Position};
use counterfoil_events::kri::aggregates::PositionVector;
use counterfoil_events::kri::ledger::{CompletionCounts, LedgerReading, LedgerSource};

use super::*;

/// Counts that were made up, or none.
struct Counted(Option<CompletionCounts>);

impl LedgerMetrics for Counted {
    async fn read(&self, _: &LedgerSource, context: RunContext) -> Result<LedgerReading, LedgerUnavailable> {
        let counts = self.0.ok_or_else(|| LedgerUnavailable {
            detail: "connection refused: postgres".to_owned(),
        })?;
        Ok(LedgerReading {
            counts,
            positions: positions(context),
        })
    }
}

fn positions(context: RunContext) -> PositionVector {
    BTreeMap::from([(context.tenant, Position(77))])
        .try_into()
        .unwrap()
}

fn context() -> RunContext {
    RunContext {
        tenant: "01933b5e-0000-7000-8000-000000000001".parse().unwrap(),
        at: "2026-06-01T00:00:00.000000Z".parse().unwrap(),
    }
}

fn loopback() -> FetchConfig {
    FetchConfig {
        allow_private: vec!["127.0.0.1".parse().unwrap()],
        ..FetchConfig::default()
    }
}

fn connectors() -> Connectors<Counted> {
    let counts = CompletionCounts {
        total: 8,
        denied: 2,
        failed: 0,
    };
    Connectors::new(&loopback(), Counted(Some(counts)))
}

fn source(json: &serde_json::Value) -> SourceConfig {
    serde_json::from_value(json.clone()).unwrap()
}

async fn served() -> MockServer {
    let server = MockServer::start().await;
    for (at, body) in [
        ("/csv", "day,rate\n2026-05-31,0.25\n"),
        ("/json", r#"{"rate":0.25,"at":"2026-05-31"}"#),
    ] {
        let answer = ResponseTemplate::new(200).set_body_string(body);
        Mock::given(path(at)).respond_with(answer).mount(&server).await;
    }
    server
}

/// A source of every kind and origin, all of which measure 0.25.
fn quarters(server: &MockServer) -> Vec<SourceConfig> {
    let url = |path: &str| format!("{}{path}", server.uri());
    let csv = serde_json::json!({"kind": "csv", "column": "rate", "aggregate": "last", "time_column": "day"});
    let mut attached = csv.clone();
    attached["text"] = "day,rate\n2026-05-31,0.25\n".into();
    let mut fetched = csv;
    fetched["url"] = url("/csv").into();
    let json = serde_json::json!({"kind": "http_json", "url": url("/json"), "pointer": "/rate", "time_pointer": "/at"});
    let ledger = serde_json::json!({"kind": "ledger", "metric": "denied_share", "window_s": 3600});
    [attached, fetched, json, ledger].iter().map(source).collect()
}

#[tokio::test]
async fn a_test_reports_exactly_what_a_run_records() {
    let server = served().await;
    for source in quarters(&server) {
        let test = connectors().test(&source, context(), None).await.unwrap();
        let run = connectors().run(&source, context(), None).await.unwrap();
        assert_eq!(test.kind, source.kind());
        assert_eq!(run.value.to_string(), "0.25");
        assert_eq!(
            (
                test.value,
                test.observed_at,
                test.payload_bytes,
                test.payload_digest
            ),
            (run.value, run.observed_at, run.payload_bytes, run.payload_digest)
        );
    }
}

#[tokio::test]
async fn the_same_bytes_give_the_same_measurement() {
    let server = served().await;
    let sources = quarters(&server);
    for source in &sources {
        let first = connectors().run(source, context(), None).await.unwrap();
        assert_eq!(first, connectors().run(source, context(), None).await.unwrap());
    }
    // Attached or fetched, it is the same document.
    let attached = connectors().run(&sources[0], context(), None).await.unwrap();
    assert_eq!(
        attached,
        connectors().run(&sources[1], context(), None).await.unwrap()
    );
    assert_eq!(
        attached.payload_digest,
        PayloadDigest(*blake3::hash(b"day,rate\n2026-05-31,0.25\n").as_bytes())
    );
}

#[tokio::test]
async fn a_measurement_of_the_platform_records_the_positions_it_read() {
    let server = served().await;
    let source = &quarters(&server)[3];
    let run = connectors().run(source, context(), None).await.unwrap();
    assert_eq!(run.positions, Some(positions(context())));
    assert_eq!(run.observed_at, Some(context().at));
    let test = connectors().test(source, context(), None).await.unwrap();
    insta::assert_snapshot!(test.preview, @r#"{"counts":{"total":8,"denied":2,"failed":0},"positions":{"01933b5e-0000-7000-8000-000000000001":77}}"#);
}

#[tokio::test]
async fn figures_that_cannot_be_read_fail_the_run_and_keep_the_reason_for_the_log() {
    let server = served().await;
    let source = &quarters(&server)[3];
    let unavailable = Connectors::new(&loopback(), Counted(None))
        .run(source, context(), None)
        .await
        .unwrap_err();
    assert_eq!(
        (unavailable.code().as_str(), unavailable.is_transient()),
        ("ledger_unavailable", true)
    );
    assert!(!unavailable.to_string().contains("postgres"));
    assert!(unavailable.detail().unwrap().contains("postgres"));

    let idle = Connectors::new(&loopback(), Counted(Some(CompletionCounts::default())));
    let none = idle.run(source, context(), None).await.unwrap_err();
    assert_eq!(
        (none.code().as_str(), none.is_transient()),
        ("ledger_no_value", false)
    );
}

#[tokio::test]
async fn a_document_kept_with_the_log_must_be_handed_to_the_run() {
    let server = served().await;
    let SourceConfig::Csv(attached) = quarters(&server).remove(0) else {
        panic!("a csv source");
    };
    let (kept, document) = attached.attach().unwrap();
    let missing = connectors()
        .run(&SourceConfig::Csv(kept.clone()), context(), None)
        .await
        .unwrap_err();
    assert_eq!(missing.code().as_str(), "document_unavailable");
    let given = SourceConfig::Csv(kept.with_text(document.unwrap().body().to_owned()));
    assert_eq!(
        connectors()
            .run(&given, context(), None)
            .await
            .unwrap()
            .value
            .to_string(),
        "0.25"
    );
}

#[tokio::test]
async fn a_preview_shows_the_beginning_and_no_control_characters() {
    let text = format!("note,rate\n\"a\tb\",1\n\"{}\",2\n", "x".repeat(300));
    let source =
        source(&serde_json::json!({"kind": "csv", "text": text, "column": "rate", "aggregate": "sum"}));
    let preview = connectors().test(&source, context(), None).await.unwrap().preview;
    assert_eq!(preview.chars().count(), 200);
    assert!(preview.starts_with("note,rate \"a b\",1 \"xxx"), "{preview}");
}

#[test]
fn a_source_is_judged_when_it_is_defined() {
    let judged = |config: &FetchConfig, json: &serde_json::Value| {
        check(config, &source(json)).map_err(|error| (error.code().to_string(), error.to_string()))
    };
    let http = |url: &str| serde_json::json!({"kind": "http_json", "url": url, "pointer": "/rate"});
    let csv =
        |text: &str| serde_json::json!({"kind": "csv", "text": text, "column": "rate", "aggregate": "sum"});
    let default = FetchConfig::default();
    for good in [
        http("https://example.org/kri"),
        http("http://8.8.8.8/kri"),
        csv("rate\n1\n"),
    ] {
        assert_eq!(judged(&default, &good), Ok(()));
    }
    assert_eq!(judged(&loopback(), &http("http://127.0.0.1/")), Ok(()));
    let refused = [
        http("http://127.0.0.1/"),
        http("http://[::1]/"),
        http("http://0x7f.1/"),
        http("http://user:pass@example.org/"),
        http("file:///etc/passwd"),
        csv("rate\n1\nx\n"),
        csv("value\n1\n"),
        csv("rate\n"),
    ];
    insta::assert_debug_snapshot!(refused.map(|json| judged(&default, &json).unwrap_err()));
}

#[tokio::test]
async fn a_credential_goes_with_the_request_and_an_answer_that_repeats_it_is_not_shown() {
    let server = MockServer::start().await;
    for (at, body) in [
        ("/plain", r#"{"rate":0.25}"#),
        ("/echo", r#"{"rate":0.25,"you":"sent zq7-credential"}"#),
    ] {
        Mock::given(path(at))
            .and(wiremock::matchers::header("x-api-key", "zq7-credential"))
            .respond_with(ResponseTemplate::new(200).set_body_string(body))
            .mount(&server)
            .await;
    }
    let asked = |at: &str| {
        source(
            &serde_json::json!({"kind": "http_json", "url": format!("{}{at}", server.uri()), "pointer": "/rate",
            "credential": {"header": "x-api-key", "secret": "feed"}}),
        )
    };
    let value = crate::vault::Plaintext::new(b"zq7-credential".to_vec());
    let credential = credential::Credential::new(asked("/plain").credential().unwrap(), &value).unwrap();
    assert!(!format!("{credential:?}").contains("zq7"));
    for (at, shown) in [("/plain", "0.25"), ("/echo", "withheld")] {
        let report = connectors().test(&asked(at), context(), Some(&credential)).await;
        let report = report.unwrap();
        assert_eq!(report.value.to_string(), "0.25");
        assert!(
            report.preview.contains(shown) && !report.preview.contains("zq7"),
            "{report:?}"
        );
    }
    // Without it nothing is asked; and never over a connection that others can read.
    let unopened = connectors().run(&asked("/plain"), context(), None).await;
    assert_eq!(unopened.unwrap_err().code().as_str(), "credential_unusable");
    let public = source(
        &serde_json::json!({"kind": "http_json", "url": "http://192.0.43.8/rate", "pointer": "/rate",
        "credential": {"header": "x-api-key", "secret": "feed"}}),
    );
    let clear = connectors().run(&public, context(), Some(&credential)).await;
    assert_eq!(clear.unwrap_err().code().as_str(), "credential_in_clear");
}
