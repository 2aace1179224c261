//! Streams over real sockets: SSE and WebSocket, and what draining does to them.

use tokio::io::AsyncReadExt;

use super::support::TestServer;
use crate::http::stream::SseEvent;

#[tokio::test]
async fn events_are_streamed_and_draining_ends_the_stream() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client.send("GET /v1/ticks HTTP/1.1\r\nhost: t\r\n\r\n").await;
    let text = client.until("id: 3\nevent: tick\ndata: 3\n\n").await;
    assert!(text.contains("content-type: text/event-stream; charset=utf-8"));
    assert!(text.contains("x-accel-buffering: no"));
    assert!(server.drained().await, "an open stream does not hold the drain");
    let rest = String::from_utf8(client.rest().await).unwrap();
    assert!(
        rest.ends_with("0\r\n\r\n"),
        "the chunked body is complete: {rest:?}"
    );
}

#[tokio::test]
async fn a_websocket_echoes_and_is_closed_by_draining() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client
        .send(
            "GET /v1/echo HTTP/1.1\r\nhost: t\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "the key of RFC 6455 §1.3"
    );
    // A text frame of "hi", masked with zeros as a client may; it comes back unmasked (RFC 6455 §5.2).
    client.send(b"\x81\x82\0\0\0\0hi").await;
    let mut echo = [0; 4];
    client.socket.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x02hi");
    let (drained, rest) = tokio::join!(server.drained(), client.rest());
    assert!(drained, "an open WebSocket does not hold the drain");
    assert_eq!(rest, b"\x88\x0a\x03\xe9draining", "closed with 1001 and a reason");
}

#[tokio::test]
async fn a_plain_request_to_a_websocket_route_is_told_so() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/v1/echo").await.problem(), "malformed-request");
}

#[test]
fn an_event_keeps_its_lines_and_cannot_forge_fields() {
    let event = SseEvent {
        id: Some("1\nevent: forged".into()),
        event: None,
        data: "a\nb\r\nc".into(),
    };
    assert_eq!(
        event.encode(),
        "id: 1event: forged\ndata: a\ndata: b\ndata: c\n\n"
    );
}
