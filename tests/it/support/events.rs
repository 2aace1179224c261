//! Clients of event streams, as others write them: Server-Sent Events and WebSocket.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::installation::TOKEN;
use super::reply::Reply;
use super::served::Served;

/// How long anything may take to come. The limit only keeps a failure from hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// One frame of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub id: u64,
    pub event: String,
    pub data: Value,
}

/// An open SSE stream.
pub struct Sse {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    read: String,
}

impl Sse {
    pub async fn open(server: &Served, path: &str) -> Self {
        Self::resume(server, path, None).await
    }

    /// As a browser connects again.
    pub async fn resume(server: &Served, path: &str, last_event_id: Option<u64>) -> Self {
        let mut request = server
            .request(Method::GET, path)
            .header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()["content-type"],
            "text/event-stream; charset=utf-8"
        );
        Self {
            body: response.bytes_stream().boxed(),
            read: String::new(),
        }
    }

    /// What a request for a stream is refused with.
    pub async fn refused(server: &Served, path: &str) -> Reply {
        Reply::of(
            server
                .request(Method::GET, path)
                .header("accept", "text/event-stream"),
        )
        .await
    }

    /// The status that a request for a stream is answered with; a stream is closed at once.
    pub async fn status(server: &Served, path: &str) -> u16 {
        let request = server
            .request(Method::GET, path)
            .header("accept", "text/event-stream");
        request.send().await.unwrap().status().as_u16()
    }

    /// The next frame; none at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.read.split_once("\n\n") {
                let parsed = parse(frame);
                self.read = rest.to_owned();
                match parsed {
                    Some(frame) => return Some(frame),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next())
                .await
                .expect("a frame comes");
            self.read.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }

    /// So many frames.
    pub async fn take(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.push(self.next().await.expect("the stream goes on"));
        }
        frames
    }
}

fn parse(text: &str) -> Option<Frame> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(Frame {
        id: field("id")?.parse().unwrap(),
        event: field("event").unwrap().to_owned(),
        data: serde_json::from_str(field("data").unwrap()).unwrap(),
    })
}

/// An open WebSocket.
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub async fn open(server: &Served, path: &str) -> Self {
        Self::try_open(server, path).await.unwrap()
    }

    /// A socket, or the status of the refusal.
    pub async fn try_open(server: &Served, path: &str) -> Result<Self, u16> {
        let host = server.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
        let bearer = format!("Bearer {TOKEN}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// The next document, or how the socket was closed.
    pub async fn next(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next())
                .await
                .expect("a message comes");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }
}
