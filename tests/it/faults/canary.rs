//! The canary (I9): a mark is put into whatever a client, a provider or a source can give; then every copy is searched
//! for it: tables, stream, export, log lines of the process at debug level, figures, and the errors that were answered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use counterfoil_events::backbone::StreamScan;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use wiremock::matchers::{body_partial_json, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::api::{Api, Tenant, card, make_world};
use crate::support::installation::{Installation, TOKEN};
use crate::support::ledger::PASSWORD;
use crate::support::serving::Serving;
use crate::support::stack::shared_stack;

const MARK: &str = "zq7canary";
const PRICE: &str = "effective_from = \"2025-01-01\"\ncurrency = \"USD\"\ninput_micros_per_million = 1\n\
                     cached_input_micros_per_million = 1\noutput_micros_per_million = 1\n";
const MODELS: [&str; 4] = ["refusing", "failing", "garbling", "breaking"];

fn mark(what: &str) -> String {
    format!("{MARK}-{what}")
}

/// A provider and a source of figures that say the mark in every way they can fail.
async fn outside() -> MockServer {
    let server = MockServer::start().await;
    let error = json!({"error": {"message": mark("provider-error"), "type": mark("provider-type"), "code": mark("code")}});
    let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "breaking",
        "choices": [{"index": 0, "delta": {"content": mark("provider-content")}, "finish_reason": null}]});
    let stream = format!("data: {chunk}\n\ndata: {error}\n\n");
    let answers = [
        ResponseTemplate::new(400).set_body_json(&error),
        ResponseTemplate::new(500).set_body_json(&error),
        ResponseTemplate::new(200).set_body_string(mark("provider-garbage")),
        ResponseTemplate::new(200).set_body_raw(stream, "text/event-stream"),
    ];
    for (model, answer) in MODELS.into_iter().zip(answers) {
        let asked = Mock::given(path("/v1/chat/completions")).and(body_partial_json(json!({"model": model})));
        asked.respond_with(answer).mount(&server).await;
    }
    let payload = json!({"value": mark("kri-value"), "more": mark("kri-payload")});
    let figures = ResponseTemplate::new(200).set_body_json(payload);
    Mock::given(path("/figures"))
        .respond_with(figures)
        .mount(&server)
        .await;
    let lost = ResponseTemplate::new(404).set_body_string(mark("kri-error"));
    Mock::given(path("/lost")).respond_with(lost).mount(&server).await;
    server
}

async fn installation(outside: &MockServer) -> Installation {
    let prices = tempfile::NamedTempFile::new().unwrap();
    let table = |(provider, model): (&str, &str)| {
        format!("[[price]]\nid = \"{model}\"\nprovider = \"{provider}\"\nmodel = \"{model}\"\n{PRICE}")
    };
    let priced = MODELS
        .map(|model| ("main", model))
        .into_iter()
        .chain([("demo", "demo-small")]);
    std::fs::write(prices.path(), priced.map(table).collect::<String>()).unwrap();
    let (address, key) = (outside.address(), mark("provider-key"));
    let upstreams = format!(
        "[{{ name = \"main\", base_url = \"http://{address}/v1\", api_key = \"{key}\", attempts_max = 1 }}]"
    );
    let models = MODELS
        .map(|model| format!("{{ name = \"{model}\", upstream = \"main\" }}"))
        .join(", ");
    let settings = [
        ("gateway.upstreams", upstreams),
        (
            "gateway.models",
            format!("[{models}, {{ name = \"demo-small\", upstream = \"demo\" }}]"),
        ),
        (
            "gateway.prices_file",
            Value::from(prices.path().to_str()).to_string(),
        ),
        ("kri.fetch.allow_private", format!("[\"{address}\"]")),
        ("telemetry.log_filter", "\"debug\"".to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let installation = Installation::on(shared_stack().endpoints(), &settings).await;
    // The process reads its table at start.
    std::fs::copy(prices.path(), installation.directory().join("prices.toml")).unwrap();
    let file = installation.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let moved = installation.directory().join("prices.toml");
    let text = text.replace(prices.path().to_str().unwrap(), moved.to_str().unwrap());
    std::fs::write(file, text).unwrap();
    installation
}

/// A client that misbehaves, and the errors that it was answered.
struct Client {
    http: reqwest::Client,
    url: String,
    errors: Vec<String>,
    statuses: Vec<u16>,
}

impl Client {
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> u16 {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.into()).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        // A stream may break off: that is one of the faults.
        let text = String::from_utf8_lossy(&answer.bytes().await.unwrap_or_default()).into_owned();
        if status >= 400 {
            self.errors.push(format!("{status} {headers} {text}"));
        }
        self.statuses.push(status);
        status
    }

    async fn chat(&mut self, key: &str, body: &Value) -> u16 {
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.send("POST", "/v1/chat/completions", &headers, body.to_string())
            .await
    }

    /// Everything that an agent can say.
    async fn as_agent(&mut self, key: &str) {
        let call = json!([{"id": mark("call-id"), "type": "function",
            "function": {"name": "find", "arguments": json!({"q": mark("arguments")}).to_string()}}]);
        let mut body = json!({"model": "demo-small", "user": mark("user"), "metadata": {"m": mark("metadata")},
            "messages": [{"role": "system", "content": mark("system")}, {"role": "user", "name": "x", "content": mark("prompt")},
                {"role": "assistant", "content": null, "tool_calls": call},
                {"role": "tool", "tool_call_id": mark("call-id"), "content": mark("tool-result")}],
            "tools": [{"type": "function", "function": {"name": "find", "description": mark("tool"),
                "parameters": {"type": "object", "description": mark("schema")}}}]});
        assert_eq!(self.chat(key, &body).await, 200);
        for model in MODELS {
            body["model"] = json!(model);
            body["stream"] = json!(model == "breaking");
            let status = self.chat(key, &body).await;
            assert_eq!(status == 200, model == "breaking", "{model}: {status}");
            if model == "refusing" {
                // What the provider does not like in a request is said to whoever made it, and to nobody else.
                assert!(self.errors.pop().unwrap().contains(&mark("provider-error")));
            }
        }
        body["model"] = json!(mark("model"));
        assert!(self.chat(key, &body).await >= 400);
        let wrong =
            json!({"model": "demo-small", "messages": mark("messages"), "temperature": mark("temperature")});
        assert_eq!(self.chat(key, &wrong).await, 400);
    }

    /// Everything that is no request at all, or nobody's.
    async fn as_nobody(&mut self, tenant: &str) {
        let (bad, cookie) = (format!("Bearer {}", mark("token")), mark("cookie"));
        let (basic, key) = (
            mark("idempotency"),
            format!("cfk_{}_{}", mark("prefix"), mark("secret")),
        );
        let json_type = ("content-type", "application/json");
        let key = format!("Bearer {key}");
        let admin = format!("Bearer {TOKEN}");
        let agents = format!("/v1/tenants/{tenant}/agents");
        let broken = format!("{{\"name\": \"{}\",,", mark("malformed"));
        let typed = json!({"name": [mark("type")], "owner": 7}).to_string();
        self.send(
            "POST",
            &agents,
            &[("authorization", &bad), ("cookie", &cookie)],
            "",
        )
        .await;
        self.send(
            "POST",
            "/v1/chat/completions",
            &[("authorization", &key), json_type],
            "{}",
        )
        .await;
        let headers = [
            ("authorization", admin.as_str()),
            ("idempotency-key", &basic),
            ("user-agent", &cookie),
            json_type,
        ];
        self.send("POST", &agents, &headers, broken).await;
        self.send("POST", &agents, &headers, typed).await;
        self.send(
            "GET",
            &format!("/v1/{}?{}", mark("path"), mark("query")),
            &headers,
            "",
        )
        .await;
        self.send(
            "GET",
            &format!("{agents}?cursor={}", mark("cursor")),
            &headers,
            "",
        )
        .await;
        self.send("GET", &format!("{agents}/{}", mark("id")), &headers, "")
            .await;
        // An id that is not there is named to whoever asked for it.
        assert!(self.errors.pop().unwrap().contains(&mark("id")));
        let wait = [
            ("authorization", admin.as_str()),
            ("counterfoil-wait-for", &basic),
        ];
        self.send("GET", &agents, &wait, "").await;
        assert!(
            self.statuses.iter().rev().take(8).all(|status| *status >= 400),
            "{:?}",
            self.statuses
        );
    }

    /// Sources that fetch the mark, and addresses that hold it.
    async fn as_risk_officer(&mut self, tenant: &str, outside: &MockServer) {
        let admin = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", admin.as_str()),
            ("content-type", "application/json"),
        ];
        let sources = format!("/v1/tenants/{tenant}/kri-sources");
        let url = format!(
            "http://user:{}@{}/figures",
            mark("url-password"),
            outside.address()
        );
        let config = json!({"kind": "http_json", "url": url, "pointer": "/value"});
        let body = json!({"kri": "denied-share", "config": config}).to_string();
        assert_eq!(self.send("POST", &sources, &headers, body).await, 422);
        for place in ["figures", "lost"] {
            let url = format!("http://{}/{place}", outside.address());
            let config = json!({"kind": "http_json", "url": url, "pointer": "/value"});
            let made = Api::new()
                .post(
                    &format!("{}{sources}", self.url),
                    json!({"kri": "denied-share", "config": config}),
                )
                .await;
            let source = format!("{sources}/{}", made["id"].as_str().unwrap());
            self.send("POST", &format!("{source}/test"), &headers, "").await;
            assert_eq!(
                self.send("POST", &format!("{source}/runs"), &headers, "{}").await,
                202
            );
        }
    }
}

/// Text that holds a mark or a secret, with what stands around it.
fn found(place: &str, text: &str, wanted: &[String]) -> Vec<String> {
    let around = |at: usize| {
        let (from, to) = (at.saturating_sub(120), (at + 80).min(text.len()));
        String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()
    };
    let hit = |needle: &String| {
        text.find(needle.as_str())
            .map(|at| format!("{place}: …{}…", around(at)))
    };
    wanted.iter().filter_map(hit).collect()
}

/// Every row of every table, as text.
async fn tables(installation: &Installation) -> String {
    let admin = shared_stack().endpoints().postgres_admin();
    let mut superuser = admin
        .database(&installation.config.postgres.database)
        .connect()
        .await
        .unwrap();
    let list = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
                WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let names: Vec<String> = sqlx::query_scalar(list).fetch_all(&mut superuser).await.unwrap();
    assert!(names.len() > 20, "{names:?}");
    let mut text = String::new();
    for name in names {
        let rows: Vec<String> = sqlx::query_scalar(&format!("SELECT t::text FROM {name} t"))
            .fetch_all(&mut superuser)
            .await
            .unwrap();
        text.push_str(&format!("{name}: {}\n", rows.join("\n")));
    }
    text
}

async fn messages(installation: &Installation) -> String {
    let backbone = installation.backbone().await;
    let stream = backbone
        .context()
        .get_stream(backbone.prefix().stream(0))
        .await
        .unwrap();
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut text = String::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let body = String::from_utf8_lossy(&message.payload).into_owned();
        text.push_str(&format!("{} {:?} {body}\n", message.subject, message.headers));
    }
    text
}

async fn until_runs_ended(installation: &Installation, tenant: &Tenant) {
    let backbone = installation.backbone().await;
    for _ in 0..600 {
        let mut scan = StreamScan::open(&backbone, 0, Some(tenant.id)).await.unwrap();
        let mut text = String::new();
        loop {
            let page = scan.next_page().await.unwrap();
            if page.is_empty() {
                break;
            }
            let events = page.into_iter().filter_map(|message| message.event.ok());
            text.extend(events.map(|event| event.envelope));
        }
        if text.matches("\"type\":\"KriRunFailed\"").count() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the runs did not fail as they should");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_content_nor_secrets_are_in_any_copy_log_or_error() {
    let outside = outside().await;
    let installation = installation(&outside).await;
    let serving = Serving::start(&installation).await;
    serving
        .until_ready("it is ready", |status, _| status == 200)
        .await;
    let tenant = make_world(&Api::new(), &serving.url, 1).await.remove(0);
    let agents = format!("{}/v1/tenants/{}/agents", serving.url, tenant.id);
    let mut all_models = card("Says the mark");
    all_models["models"] = json!(MODELS.iter().copied().chain(["demo-small"]).collect::<Vec<_>>());
    let agent = Api::new().post(&agents, all_models).await;
    let issued = format!("{agents}/{}/keys", agent["id"].as_str().unwrap());
    let issued = Api::new().post(&issued, json!({})).await;
    let key = issued["api_key"].as_str().unwrap();

    let mut client = Client {
        http: reqwest::Client::new(),
        url: serving.url.clone(),
        errors: Vec::new(),
        statuses: Vec::new(),
    };
    client.as_agent(key).await;
    client.as_nobody(&tenant.id.to_string()).await;
    client.as_risk_officer(&tenant.id.to_string(), &outside).await;
    until_runs_ended(&installation, &tenant).await;
    let figures = reqwest::get(format!("{}/metrics", serving.url))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let log = serving.log.clone();
    serving.stop().await;
    let out = installation.directory().join("export.jsonl");
    let id = tenant.id.to_string();
    installation
        .good(&["audit", "export", "--tenant", &id, "--out", out.to_str().unwrap()])
        .await;

    let endpoints = shared_stack().endpoints();
    // `cfk_<prefix>_<secret>`; a secret may hold underscores itself.
    let secret_of = |key: &str| key.splitn(3, '_').last().unwrap().to_owned();
    let mut wanted = vec![
        MARK.to_owned(),
        secret_of(key),
        secret_of(&tenant.key),
        secret_of(TOKEN),
        PASSWORD.to_owned(),
    ];
    wanted.push(endpoints.nats_password.expose_secret().to_owned());
    wanted.push(endpoints.postgres_password.expose_secret().to_owned());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("\"level\":\"DEBUG\""), "{log}");
    let copies = [
        ("tables", tables(&installation).await),
        ("stream", messages(&installation).await),
        ("export", std::fs::read_to_string(out).unwrap()),
        ("log", log),
        ("figures", figures),
        ("errors", client.errors.join("\n")),
    ];
    let all: Vec<String> = copies
        .iter()
        .flat_map(|(place, text)| found(place, text, &wanted))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}
