//! A server with a small route table, and a client that speaks bytes.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::http::*;
use crate::identity::Permission;

pub const TOKEN: &str = "bootstrap-token-of-at-least-32-characters";

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Thing {
    pub name: String,
    #[serde(default)]
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub count: u32,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListThings {
    #[serde(default)]
    pub limit: Limit,
    pub cursor: Option<Cursor<u32>>,
}

async fn put_thing((): (), request: Request<Json<Thing>>) -> Answer {
    answer::created(Some("/v1/things/1"), &request.body.0)
}

async fn list_things((): (), request: Request<NoBody, Query<ListThings>>) -> Answer {
    let Query(query) = request.query;
    let from = query.cursor.map_or(0, |cursor| cursor.0 + 1);
    let rows: Vec<u32> = (from..7).take(query.limit.get() + 1).collect();
    answer::ok(&crate::http::query::page(rows, query.limit, |row| *row)?)
}

async fn one_thing((): (), request: Request) -> Answer {
    let id: Uuid = request.param("thing")?;
    Err(ApiError::not_found("thing", id).because("a cause for the log alone"))
}

async fn echo_context((): (), request: Request) -> Answer {
    answer::ok(&serde_json::json!({
        "request_id": request.context.request_id.to_string(),
        "tenant": request.tenant()?.to_string(),
        "trace": request.context.traceparent.map(|trace| trace.trace_id().to_owned()),
        "key": request.context.idempotency_key.map(|key| key.as_str().to_owned()),
        "wait_for": request.wait_for.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

async fn panics((): (), _: Request) -> Answer {
    panic!("a handler that panics");
}

async fn never((): (), _: Request) -> Answer {
    std::future::pending().await
}

async fn ticks((): (), request: Request) -> Answer {
    let ticks = futures::stream::unfold(0_u32, |n| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let event = stream::SseEvent {
            id: Some(n.to_string()),
            event: Some("tick".into()),
            data: format!("{n}"),
        };
        Some((event, n + 1))
    });
    Ok(stream::sse(&request.lifecycle, ticks))
}

async fn flood((): (), _: Request) -> Answer {
    let chunk = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
    let chunks = futures::stream::repeat_with(move || Ok(chunk.clone()));
    Ok(stream::bytes_stream("application/octet-stream", chunks))
}

async fn echo_socket((): (), request: Request) -> Answer {
    use futures::{SinkExt, StreamExt};
    let Some(upgrade) = request.upgrade else {
        return Err(problem::MALFORMED_REQUEST.detail("ask for a WebSocket"));
    };
    Ok(
        upgrade.answer(&request.lifecycle, |mut socket, draining| async move {
            loop {
                tokio::select! {
                    () = draining.cancelled() => {
                        let _ = socket.send(stream::Message::close_with(1001_u16, "draining")).await;
                        return;
                    }
                    message = socket.next() => match message {
                        Some(Ok(message)) if message.is_text() => { let _ = socket.send(message).await; }
                        Some(Ok(_)) => {}
                        _ => return,
                    }
                }
            }
        }),
    )
}

pub fn routes() -> Vec<Route> {
    let public = Access::Public;
    vec![
        Route::post("/v1/things", "Put a thing")
            .permission(Permission::TenantsCreate)
            .answers::<Thing>(201, "There it is")
            .handle(&State::new(()), put_thing),
        Route::get("/v1/things", "List things")
            .permission(public)
            .handle(&State::new(()), list_things),
        Route::get("/v1/things/{thing}", "One thing")
            .permission(public)
            .handle(&State::new(()), one_thing),
        Route::post("/v1/small", "A small body")
            .permission(public)
            .body_limit_bytes(64)
            .handle(&State::new(()), put_thing),
        Route::post("/v1/room", "A body of some size")
            .permission(public)
            .handle(&State::new(()), put_thing),
        Route::get("/v1/tenants/{tenant}/context", "The context")
            .permission(Permission::TenantsRead)
            .handle(&State::new(()), echo_context),
        Route::get("/v1/panics", "Panics")
            .permission(public)
            .handle(&State::new(()), panics),
        Route::get("/v1/never", "Never answers")
            .permission(public)
            .timeout(Duration::from_millis(20))
            .handle(&State::new(()), never),
        Route::get("/v1/slow", "Never answers, and waits long")
            .permission(public)
            .handle(&State::new(()), never),
        Route::get("/v1/ticks", "Ticks")
            .permission(public)
            .answers_as(200, "Ticks", "text/event-stream")
            .handle(&State::new(()), ticks),
        Route::get("/v1/flood", "More than fits")
            .permission(public)
            .handle(&State::new(()), flood),
        Route::get("/v1/echo", "A WebSocket")
            .permission(public)
            .handle(&State::new(()), echo_socket),
    ]
}

pub fn chat_routes() -> Group {
    let route = Route::post("/v1/chat/completions", "Chat")
        .permission(Access::AgentKey)
        .body_limit_bytes(256)
        .handle(&State::new(()), put_thing);
    Group::new(vec![route]).errors(ErrorShape::OpenAi, &["/v1/chat", "/v1/models"])
}

pub fn table() -> RouteTable {
    let readiness = Readiness::new();
    readiness.required("postgres").ok();
    RouteTable::build(vec![
        Group::new(routes()),
        chat_routes(),
        Group::new(health::routes(&State::new(readiness))),
    ])
    .unwrap()
}

/// Patient enough that no test on a loaded machine runs into a limit it does not mean to.
pub fn patient() -> ServerLimits {
    let long = Duration::from_secs(60);
    ServerLimits {
        max_connections: 64,
        head_timeout: long,
        idle_timeout: long,
        stalled_timeout: long,
        drain_deadline: long,
    }
}

pub fn roomy() -> IntakeLimits {
    IntakeLimits {
        body_timeout: Duration::from_secs(60),
        body_memory_bytes: 16 << 20,
    }
}

pub struct TestServer {
    pub address: SocketAddr,
    pub lifecycle: Lifecycle,
    running: JoinHandle<bool>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(patient()).await
    }

    pub async fn with(limits: ServerLimits) -> Self {
        Self::with_intake(limits, roomy()).await
    }

    pub async fn with_intake(limits: ServerLimits, intake: IntakeLimits) -> Self {
        Self::of_parts(limits, intake, Guard::default()).await
    }

    pub async fn guarded(guard: Guard) -> Self {
        Self::of_parts(patient(), roomy(), guard).await
    }

    async fn of_parts(limits: ServerLimits, intake: IntakeLimits, guard: Guard) -> Self {
        let lifecycle = Lifecycle::new();
        let token = BootstrapToken::new(&SecretString::from(TOKEN));
        let authenticators = Authenticators::default().with(token);
        let dispatcher = Dispatcher::new(table(), authenticators, lifecycle.clone(), intake).guarded(guard);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, limits, dispatcher, lifecycle.clone())
            .await
            .unwrap();
        let address = server.address();
        Self {
            address,
            lifecycle,
            running: tokio::spawn(server.run()),
        }
    }

    pub async fn connect(&self) -> Client {
        Client {
            socket: TcpStream::connect(self.address).await.unwrap(),
        }
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, head: &str, body: &str) -> Reply {
        let mut client = self.connect().await;
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        client
            .send(&format!(
                "{head}\r\nhost: test\r\nconnection: close\r\n{length}\r\n{body}"
            ))
            .await;
        client.reply().await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1"), "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        let head = format!(
            "POST {path} HTTP/1.1\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json"
        );
        self.ask(&head, body).await
    }

    /// True if everything ended before the drain deadline.
    pub async fn drained(self) -> bool {
        self.lifecycle.drain();
        self.running.await.unwrap()
    }
}

pub struct Client {
    pub socket: TcpStream,
}

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is a way to close, too.
        let _ = self.socket.read_to_end(&mut bytes).await;
        bytes
    }

    /// Reads until the text has come.
    pub async fn until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(text) {
            let mut chunk = [0; 4096];
            let n = self.socket.read(&mut chunk).await.unwrap();
            assert!(
                n > 0,
                "closed before {text:?}; got {:?}",
                String::from_utf8_lossy(&read)
            );
            read.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    pub async fn reply(&mut self) -> Reply {
        Reply::parse(&String::from_utf8(self.rest().await).unwrap())
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    fn parse(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The slug of the problem, its status made sure to be the answer's.
    pub fn problem(&self) -> String {
        let json = self.json();
        assert_eq!(json["status"], self.status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let kind = json["type"].as_str().unwrap();
        kind.strip_prefix(problem::TYPE_BASE).unwrap().to_owned()
    }
}
