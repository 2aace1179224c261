//! The order in which a request is judged: each of these requests is wrong in everything from some step on, and is
//! refused for the first of them. And what the guard around the permission check counts.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_events::timestamp::{Clock, SystemClock};
use secrecy::SecretString;
use warp::http::Method;

use super::support::{Reply, TOKEN, TestServer};
use crate::config::{Config, LimitsConfig};
use crate::http::origin::{OriginProof, prove};
use crate::http::{Guard, problem};

const SECRET: &str = "a secret that the edge and the origin know";

/// On every answer, whatever it is.
const ALWAYS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
    ("strict-transport-security", "max-age=600; includeSubDomains"),
];

fn config(limits: LimitsConfig) -> Config {
    let mut config = Config::default();
    config.http.hsts_max_age_s = 600;
    config.limits = limits;
    config
}

async fn server() -> TestServer {
    let secret = SecretString::from(SECRET);
    let origin = OriginProof::new([&secret], Duration::from_secs(600), Arc::new(SystemClock));
    TestServer::guarded(Guard::new(&config(LimitsConfig::default())).with_origin(origin)).await
}

fn proof(method: &Method, path: &str) -> String {
    let now = SystemClock.now().as_datetime().timestamp();
    let value = prove(&SecretString::from(SECRET), now, method, path);
    format!("x-origin-verify: {value}\r\n")
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

async fn ask(server: &TestServer, method: &Method, path: &str, headers: &[String]) -> Reply {
    let lines = headers.concat();
    let head = format!("{method} {path} HTTP/1.1\r\n{}", lines.trim_end());
    let reply = server.ask(head.trim_end(), "").await;
    assert!(reply.header("x-request-id").is_some(), "{reply:?}");
    for (name, value) in ALWAYS {
        assert_eq!(reply.header(name), Some(value), "{method} {path}: {name}");
    }
    reply
}

#[tokio::test]
async fn a_request_is_judged_by_origin_route_credential_permission_and_only_then_by_what_it_says() {
    let server = server().await;
    let (get, post) = (Method::GET, Method::POST);
    let bad_tenant = "/v1/tenants/nonsense/context";
    let cases = [
        // Nothing is told of what is here to who has not come through the edge.
        (&get, "/v1/nothing", vec![], "origin-refused"),
        (&post, bad_tenant, vec![bearer(TOKEN)], "origin-refused"),
        (
            &get,
            bad_tenant,
            vec![bearer("wrong"), proof(&get, "/v1/things")],
            "origin-refused",
        ),
        (
            &get,
            "/v1/nothing",
            vec![proof(&get, "/v1/nothing")],
            "no-such-route",
        ),
        (
            &post,
            bad_tenant,
            vec![proof(&post, bad_tenant)],
            "method-not-allowed",
        ),
        // The path's tenant is a hint: it is not looked at for somebody who is nobody.
        (&get, bad_tenant, vec![proof(&get, bad_tenant)], "unauthenticated"),
        (
            &get,
            bad_tenant,
            vec![proof(&get, bad_tenant), bearer("wrong")],
            "unauthenticated",
        ),
        (
            &get,
            bad_tenant,
            vec![proof(&get, bad_tenant), bearer(TOKEN)],
            "invalid-parameter",
        ),
    ];
    for (method, path, headers, expected) in cases {
        let reply = ask(&server, method, path, &headers).await;
        assert_eq!(reply.problem(), expected, "{method} {path} {headers:?}");
    }
    // Known, and not allowed: said before the body, which is not JSON, is looked at.
    let chat = "/v1/chat/completions";
    let refused = ask(&server, &post, chat, &[proof(&post, chat), bearer(TOKEN)]).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (403, &"forbidden".into())
    );
    assert!(server.drained().await);
}

#[tokio::test]
async fn who_runs_the_process_asks_how_it_is_without_the_edge() {
    let server = server().await;
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(ask(&server, &Method::GET, path, &[]).await.status, 200, "{path}");
    }
    assert!(server.drained().await);
}

#[tokio::test]
async fn refused_credentials_beyond_their_rate_are_a_429_and_a_good_one_is_never_refused() {
    let limits = LimitsConfig {
        refused_credentials_per_minute: 1,
        burst_refused_credentials: 3,
        ..LimitsConfig::default()
    };
    let server = TestServer::guarded(Guard::new(&config(limits))).await;
    let path = "/v1/tenants/00000000-0000-0000-0000-000000000001/context";
    for n in 0..6 {
        let reply = ask(&server, &Method::GET, path, &[bearer("wrong")]).await;
        let expected = if n < 3 {
            problem::UNAUTHENTICATED
        } else {
            problem::TOO_MANY_REQUESTS
        };
        assert_eq!(reply.problem(), expected.slug, "attempt {n}");
        assert_eq!(reply.header("retry-after").is_some(), n >= 3, "attempt {n}");
        let good = ask(&server, &Method::GET, path, &[bearer(TOKEN)]).await;
        assert_eq!(good.status, 200, "from the same address");
    }
    assert!(server.drained().await);
}

#[tokio::test]
async fn commands_beyond_their_rate_are_a_429_that_says_when_and_queries_are_not_counted() {
    let limits = LimitsConfig {
        commands_per_minute: 1,
        burst_commands: 2,
        ..LimitsConfig::default()
    };
    let server = TestServer::guarded(Guard::new(&config(limits))).await;
    for n in 0..4 {
        let reply = server.post("/v1/things", r#"{"name":"a"}"#).await;
        if n < 2 {
            assert_eq!(reply.status, 201, "command {n}");
            continue;
        }
        assert_eq!(reply.problem(), "too-many-requests", "command {n}");
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let path = "/v1/tenants/00000000-0000-0000-0000-000000000001/context";
    assert_eq!(
        ask(&server, &Method::GET, path, &[bearer(TOKEN)]).await.status,
        200
    );
    assert!(server.drained().await);
}
