//! What every request passes: routing, permission, limits, request ids, error shapes.

use uuid::Uuid;

use super::support::{TOKEN, TestServer};
use crate::http::problem;

#[tokio::test]
async fn an_unknown_path_is_a_404_problem() {
    let server = TestServer::start().await;
    let reply = server.get("/v1/nothing").await;
    assert_eq!((reply.status, reply.problem().as_str()), (404, "no-such-route"));
    assert!(
        reply
            .body
            .starts_with(r#"{"type":"https://counterfoil.dev/problems/no-such-route","title":"#)
    );
    assert!(server.drained().await);
}

#[tokio::test]
async fn another_method_is_a_405_that_lists_the_allowed_ones() {
    let server = TestServer::start().await;
    let reply = server.ask("DELETE /v1/things HTTP/1.1", "").await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (405, "method-not-allowed")
    );
    assert_eq!(reply.header("allow"), Some("GET, HEAD, POST"));
}

#[tokio::test]
async fn head_is_answered_by_get_without_a_body() {
    let server = TestServer::start().await;
    let reply = server.ask("HEAD /live HTTP/1.1", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_route_asks_for_its_permission_before_it_reads_the_body() {
    let server = TestServer::start().await;
    let reply = server
        .ask(
            "POST /v1/things HTTP/1.1\r\ncontent-type: application/json",
            "not json",
        )
        .await;
    assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthenticated"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    let wrong = server
        .ask("POST /v1/things HTTP/1.1\r\nauthorization: Bearer wrong", "")
        .await;
    assert_eq!(wrong.problem(), "unauthenticated");
    assert_eq!(
        wrong.json()["detail"],
        reply.json()["detail"],
        "one shape for every refusal"
    );
    assert_eq!(server.post("/v1/things", r#"{"name":"a"}"#).await.status, 201);
}

#[tokio::test]
async fn the_answer_names_the_request_by_the_callers_id_or_a_new_one() {
    let server = TestServer::start().await;
    let minted = server.get("/live").await;
    assert_eq!(
        Uuid::parse_str(minted.header("x-request-id").unwrap())
            .unwrap()
            .get_version_num(),
        7
    );
    let own = server
        .ask("GET /live HTTP/1.1\r\nx-request-id: build-17.retry_2", "")
        .await;
    assert_eq!(own.header("x-request-id"), Some("build-17.retry_2"));
    let long = format!("GET /live HTTP/1.1\r\nx-request-id: {}", "a".repeat(129));
    assert_eq!(
        server.ask(&long, "").await.header("x-request-id").unwrap().len(),
        36
    );
    let hostile = server
        .ask("GET /live HTTP/1.1\r\nx-request-id: <script>", "")
        .await;
    assert_eq!(hostile.header("x-request-id").unwrap().len(), 36);
}

#[tokio::test]
async fn only_a_uuid_of_the_callers_becomes_the_id_that_events_carry() {
    let server = TestServer::start().await;
    let tenant = Uuid::now_v7();
    let ask = async |id: &str| {
        let head = format!(
            "GET /v1/tenants/{tenant}/context HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\nx-request-id: {id}"
        );
        server.ask(&head, "").await.json()["request_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let own = Uuid::new_v4().to_string();
    assert_eq!(ask(&own).await, own);
    let ours = ask("jane@example.com").await;
    assert_eq!(Uuid::parse_str(&ours).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn the_context_carries_trace_key_tenant_and_wait_for() {
    let server = TestServer::start().await;
    let (tenant, trace) = (Uuid::now_v7(), "4bf92f3577b34da6a3ce929d0e0e4736");
    let head = format!(
        "GET /v1/tenants/{tenant}/context HTTP/1.1\r\nauthorization: bearer {TOKEN}\r\n\
         traceparent: 00-{trace}-00f067aa0ba902b7-01\r\nidempotency-key: k-1\r\n\
         counterfoil-wait-for: {tenant}:7, {tenant}:8\r\ncounterfoil-wait-for: {tenant}:9"
    );
    let json = server.ask(&head, "").await.json();
    assert_eq!(json["trace"], trace);
    assert_eq!(json["key"], "k-1");
    assert_eq!(json["tenant"], tenant.to_string());
    assert_eq!(json["wait_for"][2], format!("{tenant}:9"));
}

#[tokio::test]
async fn headers_that_cannot_be_read_are_named() {
    let server = TestServer::start().await;
    let tenant = Uuid::now_v7();
    let path = format!("GET /v1/tenants/{tenant}/context HTTP/1.1\r\nauthorization: Bearer {TOKEN}");
    let nine = vec![format!("{tenant}:1"); 9].join(",");
    for (header, name) in [
        (format!("idempotency-key: {}", "k".repeat(256)), "Idempotency-Key"),
        ("idempotency-key: two words".to_owned(), "Idempotency-Key"),
        (
            "idempotency-key: a\r\nidempotency-key: b".to_owned(),
            "Idempotency-Key",
        ),
        ("counterfoil-wait-for: 7".to_owned(), "Counterfoil-Wait-For"),
        (format!("counterfoil-wait-for: {nine}"), "Counterfoil-Wait-For"),
    ] {
        let reply = server.ask(&format!("{path}\r\n{header}"), "").await;
        assert_eq!(reply.problem(), "malformed-request", "{header}");
        assert_eq!(reply.json()["errors"][0]["field"], name);
    }
}

#[tokio::test]
async fn a_tenant_that_is_no_uuid_is_named() {
    let server = TestServer::start().await;
    let head = format!("GET /v1/tenants/acme/context HTTP/1.1\r\nauthorization: Bearer {TOKEN}");
    let reply = server.ask(&head, "").await;
    assert_eq!(
        (reply.status, reply.problem().as_str()),
        (400, "invalid-parameter")
    );
    assert_eq!(reply.json()["errors"][0]["field"], "tenant");
}

#[tokio::test]
async fn the_cause_is_for_the_log_and_never_for_the_client() {
    let server = TestServer::start().await;
    let id = Uuid::now_v7();
    let reply = server.get(&format!("/v1/things/{id}")).await;
    assert_eq!(reply.problem(), "not-found");
    assert!(reply.json()["detail"].as_str().unwrap().contains(&id.to_string()));
    assert!(!reply.body.contains("cause"));
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_and_the_server_goes_on() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/v1/panics").await.problem(), "internal");
    assert_eq!(server.get("/live").await.status, 200);
}

#[tokio::test]
async fn a_handler_that_does_not_answer_is_a_504() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/v1/never").await.problem(), "timed-out");
}

#[tokio::test]
async fn the_openai_surface_answers_in_its_own_shape_also_where_there_is_no_route() {
    let server = TestServer::start().await;
    let large = "x".repeat(300);
    let replies = [
        (404, server.get("/v1/chat/nothing").await),
        (404, server.get("/v1/models/none").await),
        (405, server.get("/v1/chat/completions").await),
        (
            401,
            server.ask("POST /v1/chat/completions HTTP/1.1", &large).await,
        ),
        (403, server.post("/v1/chat/completions", &large).await),
    ];
    let codes = [
        "unknown_url",
        "unknown_url",
        "method_not_allowed",
        "invalid_api_key",
        "forbidden",
    ];
    for ((status, reply), code) in replies.into_iter().zip(codes) {
        assert_eq!(reply.status, status);
        let error = &reply.json()["error"];
        assert_eq!(error["code"], code);
        for key in ["message", "type", "param", "code"] {
            assert!(error.as_object().unwrap().contains_key(key), "{key} in {error}");
        }
    }
    assert_eq!(
        server.get("/v1/chats").await.problem(),
        "no-such-route",
        "a prefix ends at a segment"
    );
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = TestServer::start().await;
    for path in ["/live", "/v1/nothing"] {
        let reply = server.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn metrics_count_by_template_and_never_by_path() {
    crate::http::metrics::install();
    let server = TestServer::start().await;
    let id = Uuid::now_v7();
    server.get(&format!("/v1/things/{id}")).await;
    let figures = server.get("/metrics").await.body;
    let line = r#"counterfoil_http_requests_total{route="GET /v1/things/{thing}",method="GET",status="404"}"#;
    assert!(figures.contains(line), "{figures}");
    assert!(!figures.contains(&id.to_string()));
}

#[test]
fn every_problem_type_is_explained_to_clients_with_its_status() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http-api.md");
    let page = std::fs::read_to_string(path).unwrap();
    for kind in problem::COMMON {
        let row = format!("| `{}` | {} |", kind.slug, kind.status);
        assert!(page.contains(&row), "docs/http-api.md lacks {row}");
    }
}
