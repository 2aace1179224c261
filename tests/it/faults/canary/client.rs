//! A client that misbehaves: it says the mark wherever anything can be said, as an agent, as nobody, as a risk officer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use wiremock::MockServer;

use super::mark;
use super::outside::MODELS;
use crate::support::installation::TOKEN;
use crate::support::served::Served;
use crate::support::world::World;

/// A client that misbehaves, and the errors that it was answered.
pub struct Client {
    http: reqwest::Client,
    url: String,
    pub errors: Vec<String>,
    statuses: Vec<u16>,
}

impl Client {
    pub fn of(server: &Served) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: server.url.clone(),
            errors: Vec::new(),
            statuses: Vec::new(),
        }
    }

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
    pub async fn as_agent(&mut self, key: &str) {
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
    pub async fn as_nobody(&mut self, world: &World) {
        let (bad, cookie) = (format!("Bearer {}", mark("token")), mark("cookie"));
        let (basic, key) = (
            mark("idempotency"),
            format!("cfk_{}_{}", mark("prefix"), mark("secret")),
        );
        let json_type = ("content-type", "application/json");
        let key = format!("Bearer {key}");
        let admin = format!("Bearer {TOKEN}");
        let agents = world.path("/agents");
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
    pub async fn as_risk_officer(&mut self, server: &Served, world: &World, outside: &MockServer) {
        let admin = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", admin.as_str()),
            ("content-type", "application/json"),
        ];
        let sources = world.path("/kri-sources");
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
            let body = json!({"kri": "denied-share", "config": config});
            let made = server.post(&sources, &body).await.good();
            let source = format!("{sources}/{}", made["id"].as_str().unwrap());
            self.send("POST", &format!("{source}/test"), &headers, "").await;
            assert_eq!(
                self.send("POST", &format!("{source}/runs"), &headers, "{}").await,
                202
            );
        }
    }
}
