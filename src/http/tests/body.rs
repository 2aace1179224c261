//! Bodies and queries that do not fit, each refused with what and where.

use super::support::{Reply, TestServer};

async fn refused(server: &TestServer, body: &str) -> Reply {
    let reply = server.post("/v1/things", body).await;
    assert!(reply.status == 400, "{body:?}: {reply:?}");
    reply
}

fn first_field(reply: &Reply) -> String {
    reply.json()["errors"][0]["field"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn malformed_json_is_named_with_its_place() {
    let server = TestServer::start().await;
    for body in [
        "",
        "{",
        "[1,]",
        "{\"name\":\"a\"} x",
        "{\"name\":\"\u{1}\"}",
        "NaN",
    ] {
        let reply = refused(&server, body).await;
        assert_eq!(reply.problem(), "malformed-json", "{body:?}");
        assert!(
            reply.json()["detail"].as_str().unwrap().contains("line 1 column"),
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_type_or_field_is_named_by_its_pointer_and_never_repeated() {
    let server = TestServer::start().await;
    assert_eq!(refused(&server, r#"["a",[]]"#).await.problem(), "invalid-body");
    let reply = refused(
        &server,
        r#"{"name":"a","parts":[{"count":1},{"count":"canary"}]}"#,
    )
    .await;
    assert_eq!(reply.problem(), "invalid-body");
    assert_eq!(first_field(&reply), "/parts/1/count");
    assert!(!reply.body.contains("canary"));
    let missing = refused(&server, r#"{"parts":[]}"#).await;
    assert!(
        missing.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("missing field `name`")
    );
    let unknown = refused(&server, r#"{"name":"a","colour":1}"#).await;
    assert!(
        unknown.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("unknown field `colour`")
    );
}

#[tokio::test]
async fn a_nul_in_any_text_is_a_400_that_names_the_field() {
    let server = TestServer::start().await;
    let value = refused(
        &server,
        r#"{"name":"a","parts":[{"count":1,"x":["ok","b\u0000c"]}]}"#,
    )
    .await;
    assert_eq!(
        (value.problem().as_str(), first_field(&value).as_str()),
        ("invalid-body", "/parts/0/x/1")
    );
    let key = refused(&server, r#"{"na\u0000me":"a"}"#).await;
    assert_eq!(key.problem(), "invalid-body");
    assert!(first_field(&key).starts_with("/na"));
}

#[tokio::test]
async fn a_key_given_twice_is_refused_at_any_depth() {
    let server = TestServer::start().await;
    let reply = refused(&server, r#"{"name":"a","parts":[{"count":1,"c\u006funt":2}]}"#).await;
    assert_eq!(
        (reply.problem().as_str(), first_field(&reply).as_str()),
        ("malformed-json", "/parts/0/count")
    );
}

#[tokio::test]
async fn nesting_stops_at_64() {
    let server = TestServer::start().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(refused(&server, &nested(65)).await.problem(), "malformed-json");
    assert_eq!(
        refused(&server, &nested(64)).await.problem(),
        "invalid-body",
        "deep enough, and no thing"
    );
    assert_eq!(
        refused(&server, &nested(50_000)).await.problem(),
        "malformed-json"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_announced_or_not() {
    let server = TestServer::start().await;
    let name = "n".repeat(65);
    let body = format!(r#"{{"name":"{name}"}}"#);
    let announced = server.post("/v1/small", &body).await;
    assert_eq!(
        (announced.status, announced.problem().as_str()),
        (413, "body-too-large")
    );
    let chunked = format!(
        "POST /v1/small HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nhost: t\r\nconnection: close\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let mut client = server.connect().await;
    client.send(chunked).await;
    assert_eq!(client.reply().await.problem(), "body-too-large");
}

#[tokio::test]
async fn another_content_type_is_a_415() {
    let server = TestServer::start().await;
    let head = "POST /v1/small HTTP/1.1\r\ncontent-type: text/plain";
    assert_eq!(
        server.ask(head, r#"{"name":"a"}"#).await.problem(),
        "unsupported-media-type"
    );
    let head = "POST /v1/small HTTP/1.1\r\ncontent-type: application/json; charset=utf-8";
    assert_eq!(server.ask(head, r#"{"name":"a"}"#).await.status, 201);
}

#[tokio::test]
async fn unknown_or_impossible_query_parameters_are_refused() {
    let server = TestServer::start().await;
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "colour=1",
        "limit=1&limit=2",
        "cursor=zz",
        "cursor=%00",
    ] {
        let reply = server.get(&format!("/v1/things?{query}")).await;
        assert_eq!(
            (reply.status, reply.problem().as_str()),
            (400, "invalid-parameter"),
            "{query}"
        );
    }
    assert_eq!(server.get("/live?x=1").await.problem(), "invalid-parameter");
}

#[tokio::test]
async fn pages_follow_one_another_to_the_end() {
    let server = TestServer::start().await;
    let mut seen = Vec::new();
    let mut path = "/v1/things?limit=3".to_owned();
    loop {
        let page = server.get(&path).await.json();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item.as_u64().unwrap()),
        );
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/things?limit=3&cursor={next}");
    }
    assert_eq!(seen, (0..7).collect::<Vec<u64>>());
}
