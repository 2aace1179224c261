//! Two tenants, every route: what is B's is, on A's paths, what does not exist; and nothing of B is in any answer to A.
//! A route that is not in the table below turns this red.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::installation::Installation;
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::{World, agent_card};

/// What a route is for this test.
pub(super) enum Kind {
    /// Says nothing of any tenant, or belongs to the platform, which administers all of them.
    Platform,
    /// Of the tenant in the path, as a whole.
    Tenant,
    /// Of an object of the tenant: its parameter, and a body that the route would take.
    Object(&'static str, fn() -> Value),
    /// Takes its tenant from an agent's key.
    Key,
}

use Kind::{Key, Object, Platform, Tenant};

fn nothing() -> Value {
    Value::Null
}

fn reason() -> Value {
    json!({"reason": "other"})
}

fn grace() -> Value {
    json!({"grace_s": 60})
}

fn card() -> Value {
    agent_card("helper", &["demo-small"])
}

fn empty() -> Value {
    json!({})
}

fn definition() -> Value {
    json!({"name": "Denied share", "unit": "%", "schedule": {"frequency": "hourly"},
           "bands": {"direction": "higher_is_worse", "upper": {"amber": "5", "red": "9"}}})
}

fn source() -> Value {
    json!({"kind": "ledger", "metric": "denied_share", "window_s": 3600})
}

pub(super) const ROUTES: &[(&str, &str, Kind)] = &[
    ("GET", "/live", Platform),
    ("GET", "/metrics", Platform),
    ("GET", "/openapi.json", Platform),
    ("GET", "/ready", Platform),
    ("GET", "/v1/carriers/{carrier}/rollups", Platform),
    ("POST", "/v1/chat/completions", Key),
    ("GET", "/v1/event-schemas", Platform),
    ("GET", "/v1/event-schemas/{type}", Platform),
    ("GET", "/v1/event-schemas/{type}/{version}", Platform),
    ("GET", "/v1/models", Key),
    ("GET", "/v1/models/{model}", Key),
    ("GET", "/v1/organisations", Platform),
    ("POST", "/v1/organisations", Platform),
    ("GET", "/v1/organisations/{organisation}", Platform),
    ("PATCH", "/v1/organisations/{organisation}", Platform),
    ("POST", "/v1/organisations/{organisation}/resume", Platform),
    ("POST", "/v1/organisations/{organisation}/suspend", Platform),
    ("GET", "/v1/tenants", Platform),
    ("POST", "/v1/tenants", Platform),
    ("GET", "/v1/tenants/{tenant}", Tenant),
    ("PATCH", "/v1/tenants/{tenant}", Tenant),
    ("GET", "/v1/tenants/{tenant}/agents", Tenant),
    ("POST", "/v1/tenants/{tenant}/agents", Tenant),
    (
        "GET",
        "/v1/tenants/{tenant}/agents/{agent}",
        Object("agent", nothing),
    ),
    (
        "PUT",
        "/v1/tenants/{tenant}/agents/{agent}",
        Object("agent", card),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/agents/{agent}/keys",
        Object("agent", empty),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/agents/{agent}/keys/{key}/rotate",
        Object("agent", grace),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/agents/{agent}/keys/{key}/revoke",
        Object("agent", reason),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/agents/{agent}/resume",
        Object("agent", nothing),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/agents/{agent}/suspend",
        Object("agent", reason),
    ),
    // Of the platform's register: who ends a tenant is asked about there.
    ("POST", "/v1/tenants/{tenant}/close", Tenant),
    ("POST", "/v1/tenants/{tenant}/erase", Tenant),
    // A carrier is an organisation, not a tenant's.
    ("PUT", "/v1/tenants/{tenant}/carriers/{carrier}", Tenant),
    ("DELETE", "/v1/tenants/{tenant}/carriers/{carrier}", Tenant),
    ("GET", "/v1/tenants/{tenant}/completions", Tenant),
    (
        "GET",
        "/v1/tenants/{tenant}/completions/{completion}",
        Object("completion", nothing),
    ),
    ("GET", "/v1/tenants/{tenant}/events", Tenant),
    ("PUT", "/v1/tenants/{tenant}/exposure", Tenant),
    ("GET", "/v1/tenants/{tenant}/head-notes", Tenant),
    ("GET", "/v1/tenants/{tenant}/head-notes/latest", Tenant),
    ("GET", "/v1/tenants/{tenant}/kri-measurements", Tenant),
    ("GET", "/v1/tenants/{tenant}/kri-runs", Tenant),
    (
        "GET",
        "/v1/tenants/{tenant}/kri-runs/{run}",
        Object("run", nothing),
    ),
    ("GET", "/v1/tenants/{tenant}/kri-sources", Tenant),
    ("POST", "/v1/tenants/{tenant}/kri-sources", Tenant),
    (
        "GET",
        "/v1/tenants/{tenant}/kri-sources/{source}",
        Object("source", nothing),
    ),
    (
        "PUT",
        "/v1/tenants/{tenant}/kri-sources/{source}",
        Object("source", source),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/kri-sources/{source}/disable",
        Object("source", reason),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/kri-sources/{source}/enable",
        Object("source", nothing),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/kri-sources/{source}/runs",
        Object("source", empty),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/kri-sources/{source}/test",
        Object("source", nothing),
    ),
    ("GET", "/v1/tenants/{tenant}/kris", Tenant),
    ("POST", "/v1/tenants/{tenant}/kris", Tenant),
    ("GET", "/v1/tenants/{tenant}/kris/{kri}", Object("kri", nothing)),
    (
        "PUT",
        "/v1/tenants/{tenant}/kris/{kri}",
        Object("kri", definition),
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/kris/{kri}/retire",
        Object("kri", reason),
    ),
    ("GET", "/v1/tenants/{tenant}/policies", Tenant),
    // A layer is there in every tenant; its versions are objects.
    ("GET", "/v1/tenants/{tenant}/policies/{layer}", Tenant),
    ("POST", "/v1/tenants/{tenant}/policies/{layer}/rollback", Tenant),
    ("POST", "/v1/tenants/{tenant}/policies/{layer}/versions", Tenant),
    (
        "GET",
        "/v1/tenants/{tenant}/policies/{layer}/versions/{version}",
        Tenant,
    ),
    (
        "POST",
        "/v1/tenants/{tenant}/policies/{layer}/versions/{version}/activate",
        Object("version", nothing),
    ),
    ("GET", "/v1/tenants/{tenant}/policy-versions", Tenant),
    ("POST", "/v1/tenants/{tenant}/resume", Tenant),
    ("POST", "/v1/tenants/{tenant}/suspend", Tenant),
    ("GET", "/v1/tenants/{tenant}/usage", Tenant),
    // Users are the platform's; only what they may do somewhere is a place's.
    ("GET", "/v1/organisations/{organisation}/members", Platform),
    (
        "DELETE",
        "/v1/organisations/{organisation}/members/{user}/roles/{role}",
        Platform,
    ),
    (
        "PUT",
        "/v1/organisations/{organisation}/members/{user}/roles/{role}",
        Platform,
    ),
    ("GET", "/v1/platform/members", Platform),
    ("DELETE", "/v1/platform/members/{user}/roles/{role}", Platform),
    ("PUT", "/v1/platform/members/{user}/roles/{role}", Platform),
    ("GET", "/v1/tenants/{tenant}/members", Tenant),
    (
        "DELETE",
        "/v1/tenants/{tenant}/members/{user}/roles/{role}",
        Tenant,
    ),
    ("PUT", "/v1/tenants/{tenant}/members/{user}/roles/{role}", Tenant),
    // A secret goes by the name that its tenant gave it: one of that name may be in any tenant.
    ("GET", "/v1/tenants/{tenant}/secrets", Tenant),
    ("POST", "/v1/tenants/{tenant}/secrets", Tenant),
    ("PUT", "/v1/tenants/{tenant}/secrets/{secret}", Tenant),
    ("POST", "/v1/tenants/{tenant}/secrets/{secret}/retire", Tenant),
    ("POST", "/v1/platform/origin/restore", Platform),
    ("POST", "/v1/platform/origin/suspend", Platform),
    // The caller's own, whoever that is.
    ("GET", "/v1/sessions", Platform),
    ("POST", "/v1/sessions", Platform),
    ("DELETE", "/v1/sessions/current", Platform),
    ("GET", "/v1/sessions/current", Platform),
    ("DELETE", "/v1/sessions/{session}", Platform),
    ("POST", "/v1/tenants/{tenant}/subscribers", Tenant),
    // Its credentials are in one aggregate of the tenant: another's is not among them.
    (
        "POST",
        "/v1/tenants/{tenant}/subscribers/{subscriber}/revoke",
        Tenant,
    ),
    // Where users sign in is the platform's or an organisation's; another's issuer is looked for in tests/it/issuer.rs.
    ("GET", "/v1/organisations/{organisation}/issuers", Platform),
    ("POST", "/v1/organisations/{organisation}/issuers", Platform),
    (
        "PATCH",
        "/v1/organisations/{organisation}/issuers/{issuer}",
        Platform,
    ),
    (
        "POST",
        "/v1/organisations/{organisation}/issuers/{issuer}/resume",
        Platform,
    ),
    (
        "POST",
        "/v1/organisations/{organisation}/issuers/{issuer}/suspend",
        Platform,
    ),
    ("POST", "/v1/organisations/{organisation}/tenants", Platform),
    ("POST", "/v1/platform/administrators", Platform),
    ("GET", "/v1/platform/issuers", Platform),
    ("POST", "/v1/platform/issuers", Platform),
    ("PATCH", "/v1/platform/issuers/{issuer}", Platform),
    ("POST", "/v1/platform/issuers/{issuer}/resume", Platform),
    ("POST", "/v1/platform/issuers/{issuer}/suspend", Platform),
    ("POST", "/v1/users", Platform),
    ("POST", "/v1/users/{user}/resume", Platform),
    ("POST", "/v1/users/{user}/sessions/end", Platform),
    ("POST", "/v1/users/{user}/suspend", Platform),
    ("POST", "/v1/users/{user}/subjects", Platform),
    ("POST", "/v1/users/{user}/subjects/{link}/unlink", Platform),
    ("POST", "/v1/users/{user}/tokens", Platform),
    ("POST", "/v1/users/{user}/tokens/{token}/revoke", Platform),
];

/// Two tenants of two organisations, and what the second one has.
pub(super) struct Two {
    pub(super) server: Served,
    pub(super) a: World,
    pub(super) b: World,
    /// Stands in every text that B could give.
    pub(super) canary: String,
    completion: String,
    kri: String,
    source: String,
    run: String,
    _installation: Installation,
}

impl Two {
    pub(super) async fn new() -> Self {
        let installation = Installation::with("[gateway]\ndemo_provider = true\n").await;
        let server = installation.serve().await;
        let a = World::new(&server, &["demo-small"]).await;
        let b = World::new(&server, &["demo-small"]).await;
        let canary = format!("canary{}", uuid::Uuid::now_v7().simple());
        let mut two = Self {
            server,
            a,
            b,
            canary,
            completion: String::new(),
            kri: String::new(),
            source: String::new(),
            run: String::new(),
            _installation: installation,
        };
        two.give_b_something_of_everything().await;
        two
    }

    async fn give_b_something_of_everything(&mut self) {
        let (server, b) = (&self.server, &self.b);
        let named = agent_card(&self.canary, &["demo-small"]);
        let card = Reply::of(
            server
                .request(Method::PUT, &b.path(&format!("/agents/{}", b.agent)))
                .json(&named),
        );
        card.await.good();
        let policy = json!({"source": format!("# {}\npackage counterfoil\nimport rego.v1\ndecision := {{\"allow\": true, \"reasons\": []}}\n", self.canary)});
        server
            .post(&b.path("/policies/tenant/versions"), &policy)
            .await
            .good();
        self.kri = format!("kri-{}", self.canary);
        let kri = json!({"id": self.kri, "definition": definition()});
        server.post(&b.path("/kris"), &kri).await.good();
        let configured = json!({"kri": self.kri, "config": source()});
        let made = server.post(&b.path("/kri-sources"), &configured).await.good();
        self.source = made["id"].as_str().unwrap().to_owned();
        let runs = b.path(&format!("/kri-sources/{}/runs", self.source));
        let begun = server.post(&runs, &json!({})).await.good();
        self.run = begun["id"].as_str().unwrap().to_owned();
        let chat = json!({"model": "demo-small", "messages": [{"role": "user", "content": "Hello"}], "user": self.canary});
        let answer = self
            .as_agent(&self.b, Method::POST, "/v1/chat/completions", &chat)
            .await;
        answer.good();
        self.completion = self.first_of_b("/completions").await;
    }

    /// The id of the first item of a list of B's, once there is one.
    async fn first_of_b(&self, list: &str) -> String {
        loop {
            let page = self.server.get(&self.b.path(list)).await.good();
            if let Some(id) = page["items"][0]["id"].as_str() {
                return id.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn as_agent(&self, of: &World, method: Method, path: &str, body: &Value) -> Reply {
        let url = format!("{}{path}", self.server.url);
        let request = reqwest::Client::new().request(method, url).bearer_auth(&of.key);
        Reply::of(if body.is_null() {
            request
        } else {
            request.json(body)
        })
        .await
    }

    /// B's object, and one of the same kind that nobody has.
    pub(super) fn objects(&self, parameter: &str) -> (String, String) {
        let missing = || uuid::Uuid::now_v7().to_string();
        match parameter {
            "agent" => (self.b.agent.clone(), missing()),
            "completion" => (self.completion.clone(), missing()),
            "source" => (self.source.clone(), missing()),
            "run" => (self.run.clone(), missing()),
            "kri" => (self.kri.clone(), format!("kri-{}", uuid::Uuid::now_v7().simple())),
            // B has two, A one.
            "version" => ("2".to_owned(), "7".to_owned()),
            other => panic!("{other}: give B one"),
        }
    }

    async fn administer(&self, method: &str, path: &str, body: &Value) -> Reply {
        let request = self.server.request(method.parse().unwrap(), path);
        Reply::of(if body.is_null() {
            request
        } else {
            request.json(body)
        })
        .await
    }
}

/// A path with its parameters filled in.
pub(super) fn fill(template: &str, tenant: &str, parameter: &str, object: &str) -> String {
    let fixed = [
        ("tenant", tenant),
        (parameter, object),
        ("layer", "tenant"),
        ("version", "1"),
    ];
    let filled = fixed.iter().fold(template.to_owned(), |path, (name, value)| {
        path.replace(&format!("{{{name}}}"), value)
    });
    filled
        .replace("{key}", "00000000-0000-0000-0000-000000000001")
        .replace("{carrier}", "00000000-0000-0000-0000-000000000002")
        .replace("{organisation}", "00000000-0000-0000-0000-000000000003")
        .replace("{subscriber}", "00000000-0000-0000-0000-000000000007")
        .replace("{model}", "demo-small")
        .replace("{type}", "AgentRegistered")
}

/// An answer without what differs by request: its id, the time, and the object's own name.
pub(super) fn comparable(reply: &Reply, object: &str) -> (u16, BTreeSet<(String, String)>, String) {
    let request_id = reply.header("x-request-id").to_owned();
    let neutral = |text: &str| text.replace(&request_id, "REQUEST").replace(object, "OBJECT");
    let mut headers: BTreeSet<(String, String)> = reply
        .headers
        .iter()
        .filter(|(name, _)| name.as_str() != "date" && name.as_str() != "content-length")
        .map(|(name, value)| (name.to_string(), neutral(value.to_str().unwrap())))
        .collect();
    headers.remove(&("x-request-id".to_owned(), "REQUEST".to_owned()));
    (reply.status, headers, neutral(&reply.text))
}

#[test]
fn every_route_of_the_api_is_in_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let of_path = methods.as_object().unwrap().keys();
        described.extend(of_path.map(|method| (method.to_uppercase(), path.clone())));
    }
    let listed: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(described, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_paths_of_one_tenant_what_is_anothers_is_what_does_not_exist() {
    let two = Two::new().await;
    let (a, b) = (two.a.tenant.to_string(), two.b.tenant.to_string());
    let mut compared = 0;
    for (method, template, kind) in ROUTES {
        let Object(parameter, body) = kind else { continue };
        let (foreign, missing) = two.objects(parameter);
        if *method == "GET" {
            // It is there: as B's own.
            two.first_of_b(
                template
                    .split('/')
                    .nth(4)
                    .map(|list| format!("/{list}"))
                    .unwrap()
                    .as_str(),
            )
            .await;
            let own = two
                .administer(method, &fill(template, &b, parameter, &foreign), &Value::Null)
                .await;
            assert_eq!(own.status, 200, "{template}: {}", own.text);
        }
        let theirs = two
            .administer(method, &fill(template, &a, parameter, &foreign), &body())
            .await;
        let nobodys = two
            .administer(method, &fill(template, &a, parameter, &missing), &body())
            .await;
        assert!(
            (400..500).contains(&theirs.status),
            "{method} {template}: {}",
            theirs.text
        );
        assert_ne!(
            theirs.status, 400,
            "{method} {template}: the body is not what it takes: {}",
            theirs.text
        );
        assert_eq!(
            comparable(&theirs, &foreign),
            comparable(&nobodys, &missing),
            "{method} {template}"
        );
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_tenant_is_in_any_answer() {
    let two = Two::new().await;
    let (a, b) = (two.a.tenant.to_string(), two.b.tenant.to_string());
    // The search works: B finds its own.
    let own = two.server.get(&two.b.path("/agents")).await;
    assert!(two.first_of_b("/agents").await == two.b.agent && own.status == 200);
    let log = two.server.get(&two.b.path("/events")).await;
    assert!(
        log.text.contains(&two.canary) && log.text.contains(&b),
        "{}",
        log.text
    );
    for (method, template, kind) in ROUTES {
        let (parameter, body) = match kind {
            Platform => continue,
            Tenant | Key => ("", nothing as fn() -> Value),
            Object(parameter, body) => (*parameter, *body),
        };
        let object = if parameter.is_empty() {
            String::new()
        } else {
            two.objects(parameter).1
        };
        // Commands on A as a whole could end its world; what they answer is their receipt.
        if parameter.is_empty() && *method != "GET" {
            continue;
        }
        let path = fill(template, &a, parameter, &object);
        let reply = match kind {
            Key => {
                two.as_agent(&two.a, method.parse().unwrap(), &path, &body())
                    .await
            }
            _ => two.administer(method, &path, &body()).await,
        };
        let whole = format!("{:?} {}", reply.headers, reply.text);
        assert!(
            !whole.contains(&two.canary) && !whole.contains(&b),
            "{method} {path}: {whole}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_refused_on_every_path_of_another_tenant_as_of_none() {
    let two = Two::new().await;
    let nobody = uuid::Uuid::now_v7().to_string();
    for (method, template, kind) in ROUTES {
        let (parameter, body) = match kind {
            Platform | Key => continue,
            Tenant => ("", nothing as fn() -> Value),
            Object(parameter, body) => (*parameter, *body),
        };
        let object = if parameter.is_empty() {
            String::new()
        } else {
            two.objects(parameter).0
        };
        let b = two.b.tenant.to_string();
        let method: Method = method.parse().unwrap();
        let theirs = fill(template, &b, parameter, &object);
        let theirs = two.as_agent(&two.a, method.clone(), &theirs, &body()).await;
        let nobodys = fill(template, &nobody, parameter, &object);
        let nobodys = two.as_agent(&two.a, method.clone(), &nobodys, &body()).await;
        assert_eq!(theirs.status, 403, "{method} {template}");
        assert_eq!(
            comparable(&theirs, &b),
            comparable(&nobodys, &nobody),
            "{method} {template}"
        );
    }
    // And who says that it is another tenant's agent is refused, whoever's.
    let mut answers = BTreeSet::new();
    for tenant in [two.b.tenant.to_string(), nobody] {
        let request = reqwest::Client::new()
            .post(format!("{}/v1/chat/completions", two.server.url))
            .bearer_auth(&two.a.key)
            .header("counterfoil-tenant", &tenant)
            .json(&json!({"model": "demo-small", "messages": [{"role": "user", "content": "Hello"}]}));
        let reply = Reply::of(request).await;
        assert!((400..500).contains(&reply.status), "{}", reply.text);
        answers.insert((reply.status, reply.text.replace(&tenant, "TENANT")));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}
