//! A lean HTTP/1.1 client: one keep-alive connection, requests as bytes made beforehand. It shares the processors with
//! what it measures, so it does next to nothing.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    head: String,
}

/// An answer, as long as nothing else is asked.
pub struct Reply<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Client {
    /// Connects; `token` stands in every request.
    pub async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
            head: format!(
                "Host: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            ),
        })
    }

    /// Sends a request and reads the answer; an `Idempotency-Key` goes with it if there is one.
    pub async fn send(&mut self, what: &str, key: Option<&str>, body: &str) -> anyhow::Result<Reply<'_>> {
        let key = key
            .map(|key| format!("Idempotency-Key: {key}\r\n"))
            .unwrap_or_default();
        let head = &self.head;
        let request = format!(
            "{what} HTTP/1.1\r\n{head}{key}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (status, from, to) = read(&mut self.stream, &mut self.buffer).await?;
        Ok(Reply {
            status,
            body: &self.buffer[from..to],
        })
    }

    /// The same, for setting something up: the answer must be a success.
    pub async fn call(&mut self, what: &str, body: &Value) -> anyhow::Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let reply = self.send(what, None, &body).await?;
        let text = String::from_utf8_lossy(reply.body);
        anyhow::ensure!(
            (200..300).contains(&reply.status),
            "{what}: {} {text}",
            reply.status
        );
        serde_json::from_str(&text).with_context(|| format!("{what}: {text}"))
    }
}

impl Reply<'_> {
    /// The id of what was made, without reading the whole answer.
    pub fn id(&self) -> anyhow::Result<String> {
        anyhow::ensure!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            String::from_utf8_lossy(self.body)
        );
        let text = std::str::from_utf8(self.body)?;
        let (_, rest) = text.split_once("\"id\":\"").context("an answer without an id")?;
        Ok(rest.split('"').next().unwrap_or_default().to_owned())
    }
}

/// Reads one message whose length is given; answers the number in its first line and where its body lies.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<(u16, usize, usize)> {
    buffer.clear();
    loop {
        anyhow::ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        let whole = end + 4 + length(head);
        while buffer.len() < whole {
            anyhow::ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        }
        return Ok((status, end + 4, whole));
    }
}

fn length(head: &str) -> usize {
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(named).unwrap_or(0)
}

/// Answers every request on one connection with `answer`, at once.
pub async fn answer_all(mut stream: TcpStream, answer: &[u8]) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        read(&mut stream, &mut buffer).await?;
        stream.write_all(answer).await?;
    }
}
