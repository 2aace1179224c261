//! Bad input, as a table: each is a clear problem document, and nothing is half done.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_events::ids::TenantId;
use reqwest::Method;
use serde_json::json;

use crate::support::installation::Installation;
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

/// One request, and what it is told: status, problem, the field at fault (none: not asked).
struct Case {
    name: &'static str,
    method: Method,
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
    expected: (u16, &'static str, Option<&'static str>),
}

fn case(
    name: &'static str,
    path: impl Into<String>,
    body: impl Into<Vec<u8>>,
    expected: (u16, &'static str, Option<&'static str>),
) -> Case {
    Case {
        name,
        method: Method::POST,
        path: path.into(),
        content_type: "application/json",
        body: body.into(),
        expected,
    }
}

async fn ask(server: &Served, case: &Case) -> Reply {
    let request = server.request(case.method.clone(), &case.path);
    let request = match case.body.is_empty() {
        true => request,
        false => request
            .header("content-type", case.content_type)
            .body(case.body.clone()),
    };
    Reply::of(request).await
}

/// Everything that a log holds, to see that nothing was added.
async fn heads(server: &Served, worlds: &[&World]) -> Vec<usize> {
    let mut heads = Vec::new();
    for tenant in worlds
        .iter()
        .map(|world| world.tenant)
        .chain([TenantId::PLATFORM])
    {
        let page = server
            .get(&format!("/v1/tenants/{tenant}/events?limit=500"))
            .await
            .good();
        assert!(page["next"].is_null());
        heads.push(page["items"].as_array().unwrap().len());
    }
    heads
}

/// Asks all, and says of all that departed in one go.
async fn judge(server: &Served, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let reply = ask(server, case).await;
        let (status, slug, field) = case.expected;
        let body = match reply.header("content-type") {
            "application/problem+json" => reply.json(),
            _ => json!({"type": reply.text.clone()}),
        };
        let kind = body["type"]
            .as_str()
            .unwrap_or_default()
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let named = field.is_none_or(|field| {
            let errors = body["errors"].as_array().into_iter().flatten();
            errors.into_iter().any(|error| error["field"] == field)
        });
        if (reply.status, kind) != (status, slug) || !named {
            wrong.push(format!(
                "{}: expected {:?}, got {} {}",
                case.name, case.expected, reply.status, reply.text
            ));
        }
        if reply.text.contains("hostile-marker") {
            wrong.push(format!("{}: repeats what was sent: {}", case.name, reply.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn bodies() -> Vec<Case> {
    let organisation = |name, body: &str, expected| case(name, "/v1/organisations", body, expected);
    let deep = format!(
        r#"{{"kind":"company","name":{}1{}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    let large = format!(r#"{{"kind":"company","name":"{}"}}"#, "x".repeat(1 << 20));
    let mut cases = vec![
        organisation("cut off", r#"{"kind":"#, (400, "malformed-json", None)),
        organisation("not JSON", "kind=company", (400, "malformed-json", None)),
        organisation(
            "a key twice",
            r#"{"kind":"company","name":"a","name":"b"}"#,
            (400, "malformed-json", None),
        ),
        organisation("too deep", &deep, (400, "malformed-json", None)),
        case(
            "not UTF-8",
            "/v1/organisations",
            b"{\"name\":\"\xff\"}".to_vec(),
            (400, "malformed-json", None),
        ),
        organisation(
            "NaN",
            r#"{"kind":"company","name":NaN}"#,
            (400, "malformed-json", None),
        ),
        organisation(
            "U+0000",
            r#"{"kind":"company","name":"a\u0000b"}"#,
            (400, "invalid-body", Some("/name")),
        ),
        organisation("an array", r#"["company", "a"]"#, (400, "invalid-body", Some(""))),
        organisation("null", "null", (400, "invalid-body", None)),
        organisation(
            "a number for a text",
            r#"{"kind":"company","name":7}"#,
            (400, "invalid-body", Some("/name")),
        ),
        organisation(
            "a field is missing",
            r#"{"kind":"company"}"#,
            (400, "invalid-body", Some("/name")),
        ),
        organisation(
            "an unknown kind",
            r#"{"kind":"hostile-marker","name":"a"}"#,
            (400, "invalid-body", Some("/kind")),
        ),
        organisation(
            "an unknown field",
            r#"{"kind":"company","name":"a","colour":1}"#,
            (400, "invalid-body", None),
        ),
        organisation(
            "an empty name",
            r#"{"kind":"company","name":" "}"#,
            (400, "invalid-body", Some("/name")),
        ),
        organisation(
            "an e-mail address",
            r#"{"kind":"company","name":"hostile-marker@example.com"}"#,
            (400, "invalid-body", Some("/name")),
        ),
        organisation("no body", "", (415, "unsupported-media-type", None)),
        organisation("too large", &large, (413, "body-too-large", None)),
    ];
    let mut form = organisation(
        "another content type",
        r#"{"kind":"company","name":"a"}"#,
        (415, "unsupported-media-type", None),
    );
    form.content_type = "text/plain";
    cases.push(form);
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_says_where_and_nothing_is_done() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    judge(&server, &bodies()).await;
    assert_eq!(heads(&server, &[]).await, [1], "nothing but the first key");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_sends_much_for_nothing_still_gets_to_see_the_answer() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let large = vec![b'x'; 3 << 20];
    for (path, status) in [
        ("/v1/organisations", 413),
        ("/v1/nonsense", 404),
        ("/v1/organisations/x", 405),
    ] {
        for _ in 0..5 {
            let request = server
                .request(Method::POST, path)
                .header("content-type", "application/json");
            assert_eq!(
                Reply::of(request.body(large.clone())).await.status,
                status,
                "{path}"
            );
        }
    }
    let nobody = reqwest::Client::new().post(format!("{}/v1/organisations", server.url));
    assert_eq!(Reply::of(nobody.body(large)).await.problem(), "unauthenticated");
}

fn routes(world: &World) -> Vec<Case> {
    let nobody = uuid::Uuid::now_v7();
    let mut cases = vec![
        case(
            "an id that is none",
            world.path("/agents/nonsense/resume"),
            "",
            (400, "invalid-parameter", Some("agent")),
        ),
        case(
            "an id in capitals",
            world.path(&format!("/agents/{}/resume", world.agent.to_uppercase())),
            "",
            (400, "invalid-parameter", Some("agent")),
        ),
        case(
            "an agent that is not there",
            world.path(&format!("/agents/{nobody}/resume")),
            "",
            (404, "not-found", None),
        ),
        case(
            "a tenant that is not there",
            format!("/v1/tenants/{nobody}/agents"),
            agent_card("a", &["m"]).to_string(),
            (404, "not-found", None),
        ),
        case(
            "a tenant of an organisation that is not there",
            "/v1/tenants",
            json!({"organisation": nobody, "name": "a"}).to_string(),
            (422, "refused", Some("/organisation")),
        ),
        case(
            "a path that is not there",
            "/v1/nonsense",
            "",
            (404, "no-such-route", None),
        ),
        case(
            "percent-encoding that is none",
            "/v1/tenants/%ff/agents",
            "",
            (400, "invalid-parameter", Some("tenant")),
        ),
        case(
            "a layer that is none",
            world.path("/policies/nonsense/versions"),
            json!({"source": "x"}).to_string(),
            (400, "invalid-parameter", Some("layer")),
        ),
        case(
            "a version that is no number",
            world.path("/policies/tenant/versions/one/activate"),
            "",
            (400, "invalid-parameter", Some("version")),
        ),
        case(
            "a version that is not there",
            world.path("/policies/tenant/versions/9/activate"),
            "",
            (404, "not-found", None),
        ),
        case(
            "resuming what runs",
            world.path("/resume"),
            "",
            (409, "conflict", None),
        ),
    ];
    let mut method = case(
        "a method that is not there",
        "/v1/organisations",
        "",
        (405, "method-not-allowed", None),
    );
    method.method = Method::DELETE;
    cases.push(method);
    for (name, query, field) in [
        (
            "an unknown filter",
            "/v1/organisations?nonsense=1",
            Some("nonsense"),
        ),
        ("a limit of nothing", "/v1/organisations?limit=0", Some("limit")),
        (
            "a limit beyond the limit",
            "/v1/organisations?limit=501",
            Some("limit"),
        ),
        (
            "a cursor of one's own",
            "/v1/organisations?cursor=hostile-marker",
            Some("cursor"),
        ),
        ("a filter twice", "/v1/organisations?limit=1&limit=2", None),
    ] {
        let mut get = case(name, query, "", (400, "invalid-parameter", field));
        get.method = Method::GET;
        cases.push(get);
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_cannot_be_named_is_said_so_and_nothing_is_done() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let before = heads(&server, &[&world]).await;
    judge(&server, &routes(&world)).await;
    assert_eq!(heads(&server, &[&world]).await, before);
}

/// Arrays that serde would take for objects, and texts and numbers that are none.
fn shapes(world: &World) -> Vec<Case> {
    let definition = |definition| json!({"id": "share", "definition": definition}).to_string();
    let source = |config| json!({"kri": "share", "config": config}).to_string();
    let (kris, sources) = (world.path("/kris"), world.path("/kri-sources"));
    let good = json!({
        "name": "Share", "unit": "share", "schedule": {"frequency": "daily", "grace_s": 60},
        "bands": {"direction": "higher_is_worse", "upper": {"amber": "1", "red": "2"}}
    });
    let with = |pointer: &str, value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        definition(body)
    };
    let refused = |field| (400, "invalid-body", Some(field));
    let mut cases = vec![
        case(
            "an array for a definition",
            &kris,
            definition(json!(["Share", "share", good["bands"], good["schedule"]])),
            refused("/definition"),
        ),
        case(
            "an array for a table's source",
            &sources,
            source(json!(["csv", "v\n1\n"])),
            refused("/config"),
        ),
        case(
            "an array for a schedule",
            &kris,
            with("/schedule", json!(["daily", 60])),
            refused("/definition/schedule"),
        ),
        case(
            "an array for a band",
            &kris,
            with("/bands/upper", json!(["1", "2"])),
            refused("/definition/bands/upper"),
        ),
        case(
            "an array for a credential",
            &sources,
            source(json!({
                "kind": "http_json", "url": "https://risk.example/", "pointer": "/a",
                "credential": ["authorization", "risk"]
            })),
            refused("/config/credential"),
        ),
        case(
            "a negative number",
            &kris,
            with("/schedule/grace_s", json!(-1)),
            (400, "invalid-body", None),
        ),
        case(
            "a time that is none",
            world.path(&format!("/agents/{}/keys", world.agent)),
            json!({"expires_at": "tomorrow"}).to_string(),
            refused("/expires_at"),
        ),
    ];
    let mut money = case(
        "an array for money",
        world.path("/exposure"),
        json!({"amount": ["1", "EUR"]}).to_string(),
        refused("/amount"),
    );
    money.method = Method::PUT;
    cases.push(money);
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_no_object_at_any_depth() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let before = heads(&server, &[&world]).await;
    judge(&server, &shapes(&world)).await;
    assert_eq!(heads(&server, &[&world]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_member_has_a_default_no_body_is_needed_and_times_are_those_of_rfc_3339() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let keys = world.path(&format!("/agents/{}/keys", world.agent));
    let issued = Reply::of(server.request(Method::POST, &keys)).await;
    assert_eq!(issued.status, 201, "{}", issued.text);
    let in_zone = json!({"expires_at": "2036-01-01T00:00:00+01:00"});
    let issued = server.post(&keys, &in_zone).await;
    let agent = world.path(&format!("/agents/{}", world.agent));
    let agent = server.request(Method::GET, &agent);
    let agent = agent.header("counterfoil-wait-for", issued.header("counterfoil-position"));
    let agent = Reply::of(agent).await.good().to_string();
    assert!(agent.contains("2035-12-31T23:00:00.000000Z"), "{agent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_refuses_has_a_stable_code() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let nobody = uuid::Uuid::now_v7();
    let source =
        json!({"kri": "unknown", "config": {"kind": "ledger", "metric": "completions", "window_s": 60}});
    for (path, body, code) in [
        (
            "/v1/tenants".to_owned(),
            json!({"organisation": nobody, "name": "a"}),
            "organisation_not_found",
        ),
        (
            world.path("/policies/tenant/versions"),
            json!({"source": "broken"}),
            "policy_syntax",
        ),
        (
            world.path("/policies/organisation/versions"),
            json!({"source": "package counterfoil"}),
            "",
        ),
        (world.path("/kri-sources"), source, "kri_not_found"),
    ] {
        let reply = server.post(&path, &body).await;
        assert_eq!(reply.status, 422, "{}", reply.text);
        let given = reply.json()["code"].as_str().unwrap_or_default().to_owned();
        assert!(
            !given.is_empty() && (code.is_empty() || given == code),
            "{path}: {}",
            reply.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_body_takes_an_empty_object_and_names_whatever_is_in_one() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let agent = world.path(&format!("/agents/{}", world.agent));
    let (resume, activate) = (
        format!("{agent}/resume"),
        world.path("/policies/tenant/versions/1/activate"),
    );
    let reason = json!({"reason": "incident"});
    server.post(&format!("{agent}/suspend"), &reason).await.good();
    let before = heads(&server, &[&world]).await;
    let text = |path: &str, content_type| {
        let mut other = case("not JSON", path, "{}", (400, "invalid-body", None));
        other.content_type = content_type;
        other
    };
    for path in [&resume, &activate] {
        let refused = |name, body: &str, field| case(name, path, body, (400, "invalid-body", field));
        let cases = [
            refused("a member", r#"{"reason": "over"}"#, Some("/reason")),
            refused("two members", r#"{"a": 1, "b/c": null}"#, Some("/b~1c")),
            refused("a list", "[]", None),
            refused("null", "null", None),
            case("cut off", path, "{", (400, "malformed-json", None)),
            text(path, "text/plain"),
        ];
        judge(&server, &cases).await;
    }
    assert_eq!(heads(&server, &[&world]).await, before);
    server.post(&resume, &json!({})).await.good();
    let again = json!({"source": "package counterfoil\nimport rego.v1\ndecision := {\"allow\": true, \"reasons\": []}\n"});
    server
        .post(&world.path("/policies/tenant/versions"), &again)
        .await
        .good();
    let second = world.path("/policies/tenant/versions/2/activate");
    server.post(&second, &json!({})).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ids_of_another_tenant_are_unknown_in_this_one() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let (ours, theirs) = (
        World::new(&server, &["demo-small"]).await,
        World::new(&server, &["demo-small"]).await,
    );
    let before = heads(&server, &[&ours, &theirs]).await;
    let agent = &theirs.agent;
    let reason = json!({"reason": "incident"}).to_string();
    let mut cases = vec![
        case(
            "suspend",
            ours.path(&format!("/agents/{agent}/suspend")),
            reason.clone(),
            (404, "not-found", None),
        ),
        case(
            "issue a key",
            ours.path(&format!("/agents/{agent}/keys")),
            "{}",
            (404, "not-found", None),
        ),
    ];
    let mut read = case(
        "read",
        ours.path(&format!("/agents/{agent}")),
        "",
        (404, "not-found", None),
    );
    read.method = Method::GET;
    cases.push(read);
    judge(&server, &cases).await;
    assert_eq!(heads(&server, &[&ours, &theirs]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_another_request_is_refused_and_a_repeat_gets_the_first_receipt() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let with = |key: String, name: &str| {
        let request = server.request(Method::POST, &world.path("/agents"));
        Reply::of(
            request
                .header("idempotency-key", key)
                .json(&agent_card(name, &["demo-small"])),
        )
    };
    let first = with("one".to_owned(), "a").await;
    let again = with("one".to_owned(), "a").await.good();
    let first = first.good();
    assert_eq!(
        (&again["id"], &again["receipts"], &again["replayed"]),
        (&first["id"], &first["receipts"], &json!(true))
    );
    let before = heads(&server, &[&world]).await;
    assert_eq!(
        with("one".to_owned(), "b").await.problem(),
        "idempotency-key-mismatch"
    );
    assert_eq!(with("x".repeat(256), "c").await.problem(), "malformed-request");
    assert_eq!(
        with("with space".to_owned(), "c").await.problem(),
        "malformed-request"
    );
    assert_eq!(heads(&server, &[&world]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_is_refused_with_line_and_reason_and_decides_nothing() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let world = World::new(&server, &["demo-small"]).await;
    let before = heads(&server, &[&world]).await;
    let mut wrong = Vec::new();
    let head = "package counterfoil\nimport rego.v1\n";
    for (name, source, line) in [
        ("cut off", format!("{head}decision := {{\n"), Some(4)),
        ("not Rego", "hello world".to_owned(), Some(1)),
        (
            "a built-in that is not there",
            format!("{head}decision := {{\"allow\": x, \"reasons\": []}}\nx := http.send({{}})\n"),
            Some(4),
        ),
        (
            "a variable that nothing defines",
            format!("{head}decision := {{\"allow\": x, \"reasons\": []}}\n"),
            Some(3),
        ),
        (
            "another package",
            "package other\ndecision := {}\n".to_owned(),
            None,
        ),
        ("empty", String::new(), None),
        (
            "its test fails",
            format!(
                "{head}decision := {{\"allow\": true, \"reasons\": []}}\ntest_deny if {{ not decision.allow }}\n"
            ),
            None,
        ),
    ] {
        let path = world.path("/policies/tenant/versions");
        let reply = server.post(&path, &json!({"source": source})).await;
        let body = reply.json();
        let named = body["errors"][0]["field"] == "/source" && line.is_none_or(|line| body["line"] == line);
        if reply.status != 422 || !named {
            wrong.push(format!(
                "{name}: line {line:?} was expected, got {} {body}",
                reply.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let large = json!({"source": format!("{head}# {}", "x".repeat(1 << 20))});
    assert_eq!(
        server
            .post(&world.path("/policies/tenant/versions"), &large)
            .await
            .problem(),
        "body-too-large"
    );
    assert_eq!(heads(&server, &[&world]).await, before);
}
