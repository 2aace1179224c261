//! A stand-in provider that speaks OpenAI's wire over real sockets: how it behaves is in the name of the model.
//!
//! When it is called, and before it answers, it looks into Postgres: what stands there is what was durable before the
//! provider saw the call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Stands in everything it says that is for nobody but the gateway.
pub const PRIVATE_WORDS: &str = "UPSTREAM-PRIVATE-WORDS-7f3a";
/// The gateway's credential there.
pub const PROVIDER_KEY: &str = "sk-provider-only-for-tests";
/// Each model is a way to behave.
pub const MODELS: [&str; 14] = [
    "good",
    "no-usage",
    "slow",
    "silent",
    "cut",
    "malformed",
    "not-a-completion",
    "html",
    "e400",
    "e401",
    "e404",
    "e429",
    "e500",
    "in-band",
];

/// One call, as the provider saw it.
#[derive(Debug, Clone)]
pub struct Call {
    pub head: String,
    pub body: Value,
    /// Completions that were authorised and not ended when it came.
    pub open: i64,
    /// Whether the gateway has hung up before the answer was complete.
    pub abandoned: bool,
}

/// A running stand-in.
pub struct Provider {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    database: Arc<Mutex<Option<PgConnectOptions>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (calls, database) = (Arc::default(), Arc::default());
        let shared = (Arc::clone(&calls), Arc::clone(&database));
        let accepting = tokio::spawn(async move {
            // Connections end with the test's runtime at the latest.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (calls, database) = shared.clone();
                connections.spawn(serve(stream, calls, database));
            }
        });
        Self {
            address,
            calls,
            database,
            accepting,
        }
    }

    /// Where to look when it is called.
    pub fn look_into(&self, database: PgConnectOptions) {
        *self.database.lock().unwrap() = Some(database);
    }

    /// The gateway's configuration of it, with short patience.
    pub fn configuration(&self, directory: &std::path::Path) -> String {
        let prices = directory.join("prices.toml");
        let mut table = String::new();
        let mut config = format!(
            "[gateway]\nprices_file = {prices:?}\n[[gateway.upstreams]]\nname = \"standin\"\nbase_url = \"http://{}/v1\"\n\
             api_key = \"{PROVIDER_KEY}\"\nfirst_chunk_timeout_ms = 1000\nidle_timeout_ms = 1000\ntotal_timeout_ms = 5000\nattempts_max = 1\n",
            self.address
        );
        for model in MODELS {
            config += &format!("[[gateway.models]]\nname = \"{model}\"\nupstream = \"standin\"\n");
            table += &format!(
                "[[price]]\nid = \"{model}-2026\"\nprovider = \"standin\"\nmodel = \"{model}\"\neffective_from = \"2025-01-01\"\n\
                 currency = \"EUR\"\ninput_micros_per_million = 1_000_000\ncached_input_micros_per_million = 500_000\n\
                 output_micros_per_million = 2_000_000\n"
            );
        }
        std::fs::write(prices, table).unwrap();
        config
    }

    /// The calls of a model so far.
    pub fn calls(&self, model: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter(|call| call.body["model"] == model)
            .cloned()
            .collect()
    }
}

const OPEN: &str = "SELECT count(*) FILTER (WHERE type = 'CompletionAuthorized') \
                    - count(*) FILTER (WHERE type IN ('CompletionSettled', 'CompletionFailed')) FROM counterfoil.events";

async fn serve(
    mut stream: TcpStream,
    calls: Arc<Mutex<Vec<Call>>>,
    database: Arc<Mutex<Option<PgConnectOptions>>>,
) {
    // One request a connection: every answer says that it closes.
    let Some((head, body)) = read(&mut stream).await else {
        return;
    };
    let options = database.lock().unwrap().clone().expect("look_into was called");
    let mut connection = options.connect().await.unwrap();
    let open = sqlx::query_scalar(OPEN).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let number = {
        let mut calls = calls.lock().unwrap();
        calls.push(Call {
            head,
            body: body.clone(),
            open,
            abandoned: false,
        });
        calls.len() - 1
    };
    if answer(&mut stream, &body).await.is_err() {
        calls.lock().unwrap()[number].abandoned = true;
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().unwrap())
        });
        if body.len() == length.unwrap_or(0) {
            return Some((head.to_owned(), serde_json::from_str(body).unwrap()));
        }
    }
}

async fn answer(stream: &mut TcpStream, body: &Value) -> std::io::Result<()> {
    let model = body["model"].as_str().unwrap().to_owned();
    let streamed = body["stream"] == true;
    match model.as_str() {
        "silent" => stand_still(stream).await,
        "html" => whole(stream, 200, "text/html", &format!("<h1>{PRIVATE_WORDS}</h1>")).await,
        error if error.starts_with('e') && error.len() == 4 => {
            let text = json!({"error": {"message": format!("no: {PRIVATE_WORDS}"), "type": "x", "param": null, "code": "c"}});
            whole(
                stream,
                error[1..].parse().unwrap(),
                "application/json",
                &text.to_string(),
            )
            .await
        }
        _ if streamed => stream_of(stream, &model, body).await,
        "malformed" => {
            whole(
                stream,
                200,
                "application/json",
                &format!("{{\"id\": \"{PRIVATE_WORDS}"),
            )
            .await
        }
        "not-a-completion" => {
            whole(
                stream,
                200,
                "application/json",
                &format!("{{\"answer\": \"{PRIVATE_WORDS}\"}}"),
            )
            .await
        }
        "cut" => stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"id\":",
            )
            .await,
        "slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"id\":").await?;
            stand_still(stream).await
        }
        _ => whole(stream, 200, "application/json", &completion(&model).to_string()).await,
    }
}

async fn whole(stream: &mut TcpStream, status: u16, content_type: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\
         set-cookie: provider=1\r\nx-provider-says: {PRIVATE_WORDS}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

fn completion(model: &str) -> Value {
    let mut answer = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}]});
    if model != "no-usage" {
        answer["usage"] = json!({"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14});
    }
    answer
}

async fn stream_of(stream: &mut TcpStream, model: &str, body: &Value) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        .await?;
    let chunk = |delta: Value, finish: Option<&str>| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
               "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        .to_string()
    };
    let first = chunk(json!({"role": "assistant", "content": "Hello "}), None);
    send(stream, &first).await?;
    match model {
        "slow" => return stand_still(stream).await,
        "cut" => return stream.write_all(b"data: {\"id\":\"chatcmpl-1\",\"choi").await,
        "malformed" => return send(stream, &format!("{{\"id\": {PRIVATE_WORDS}")).await,
        // Fields that are not known pass through; what is missing is the end.
        "not-a-completion" => return send(stream, r#"{"answer":42}"#).await,
        "in-band" => {
            return send(
                stream,
                &format!("{{\"error\": {{\"message\": \"{PRIVATE_WORDS}\"}}}}"),
            )
            .await;
        }
        _ => {}
    }
    send(stream, &chunk(json!({"content": "there"}), None)).await?;
    send(stream, &chunk(json!({}), Some("stop"))).await?;
    if model != "no-usage" && body["stream_options"]["include_usage"] == true {
        let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
            "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}});
        send(stream, &usage.to_string()).await?;
    }
    send(stream, "[DONE]").await
}

async fn send(stream: &mut TcpStream, data: &str) -> std::io::Result<()> {
    stream.write_all(format!("data: {data}\n\n").as_bytes()).await
}

/// Says nothing more until the other side hangs up.
async fn stand_still(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut byte = [0; 1];
    let left = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut byte)).await;
    assert!(matches!(left, Ok(Ok(0) | Err(_))), "the gateway hangs up");
    Err(std::io::ErrorKind::ConnectionAborted.into())
}
