//! What the access log says, and that nothing a caller wrote gets into it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use super::support::TestServer;
use crate::http::metrics;

/// Collects the lines of this test's thread, on which its server runs, too.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn collect() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(lines.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The fields of the access log's line for this request.
    fn of(&self, request_id: Uuid) -> serde_json::Value {
        self.find(request_id).unwrap()
    }

    fn find(&self, request_id: Uuid) -> Option<serde_json::Value> {
        let text = self.text();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let id = request_id.to_string();
        lines
            .map(|line| line["fields"].clone())
            .find(|fields| fields["request_id"] == id)
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_request_leaves_one_line_with_route_status_principal_and_cause() {
    let (lines, _guard) = Lines::collect();
    let server = TestServer::start().await;
    let id = Uuid::now_v7();
    let head = format!("GET /v1/things/{} HTTP/1.1\r\nx-request-id: {id}", Uuid::now_v7());
    server.ask(&head, "").await;
    let line = lines.of(id);
    assert_eq!(line["route"], "GET /v1/things/{thing}");
    assert_eq!(
        (&line["status"], &line["principal"]),
        (&404.into(), &"anonymous".into())
    );
    assert_eq!(
        (&line["problem"], &line["cause"]),
        (&"not-found".into(), &"a cause for the log alone".into())
    );
}

#[tokio::test]
async fn a_request_whose_client_hangs_up_leaves_its_line_and_its_count() {
    metrics::install();
    let (lines, _guard) = Lines::collect();
    let server = TestServer::start().await;
    let id = Uuid::now_v7();
    let mut client = server.connect().await;
    client
        .send(format!(
            "GET /v1/slow HTTP/1.1\r\nhost: test\r\nx-request-id: {id}\r\n\r\n"
        ))
        .await;
    // Answered after this one was read: both are taken up by one thread in their order.
    server.get("/v1/things").await;
    drop(client);
    let line = loop {
        match lines.find(id) {
            Some(line) => break line,
            None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    };
    assert_eq!(
        (&line["route"], &line["status"], &line["problem"]),
        (&"GET /v1/slow".into(), &499.into(), &"client-gone".into())
    );
    let counted = "counterfoil_http_requests_total{route=\"GET /v1/slow\",method=\"GET\",status=\"499\"} 1";
    assert!(metrics::render().contains(counted), "{}", metrics::render());
}

#[tokio::test]
async fn nothing_a_caller_wrote_gets_into_the_log() {
    let (lines, _guard) = Lines::collect();
    let server = TestServer::start().await;
    let canary = "canary-7f3a";
    server.get(&format!("/v1/{canary}?{canary}={canary}")).await;
    server.get(&format!("/v1/things?cursor={canary}")).await;
    server.get(&format!("/v1/things/{canary}")).await;
    server
        .post("/v1/things", &format!(r#"{{"name":1,"{canary}":"{canary}"}}"#))
        .await;
    server
        .post("/v1/things", &format!(r#"{{"name":"{canary}"}}"#))
        .await;
    server.post("/v1/things", canary).await;
    let head = format!(
        "POST /v1/things HTTP/1.1\r\nauthorization: Bearer {canary}\r\nuser-agent: {canary}\r\n\
         idempotency-key: {canary}\r\ntraceparent: {canary}\r\ncookie: {canary}"
    );
    server.ask(&head, canary).await;
    let text = lines.text();
    assert!(
        text.contains("invalid-body") && text.contains("unauthenticated"),
        "the requests were logged"
    );
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("counterfoil")).collect();
    assert!(ours.iter().all(|line| !line.contains(canary)), "{ours:?}");
}
