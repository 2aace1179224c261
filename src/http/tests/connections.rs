//! Connections: the limits that keep one client from holding the server, and draining.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::support::{TestServer, patient, roomy};
use crate::http::{IntakeLimits, ServerLimits};

const SOON: Duration = Duration::from_millis(60);

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let server = TestServer::with(ServerLimits {
        head_timeout: SOON,
        ..patient()
    })
    .await;
    let mut silent = server.connect().await;
    assert_eq!(silent.rest().await, b"", "a client that says nothing");
    let mut loris = server.connect().await;
    loris.send("GET /live HTTP/1.1\r\nx: ").await;
    assert_eq!(loris.rest().await, b"");
}

#[tokio::test]
async fn a_second_head_that_never_ends_is_cut_off_too() {
    let server = TestServer::with(ServerLimits {
        head_timeout: SOON,
        ..patient()
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET /live HTTP/1.1\r\nhost: t\r\n\r\n").await;
    client.until("live\n").await;
    client.send("GET /li").await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = TestServer::with(ServerLimits {
        idle_timeout: SOON,
        ..patient()
    })
    .await;
    let mut busy = server.connect().await;
    busy.send("GET /v1/ticks HTTP/1.1\r\nhost: t\r\n\r\n").await;
    let mut idle = server.connect().await;
    idle.send("GET /live HTTP/1.1\r\nhost: t\r\n\r\n").await;
    idle.until("live\n").await;
    assert_eq!(idle.rest().await, b"");
    busy.until("data: 30\n").await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_408() {
    let intake = IntakeLimits {
        body_timeout: SOON,
        ..roomy()
    };
    let server = TestServer::with_intake(patient(), intake).await;
    let mut client = server.connect().await;
    client.send("POST /v1/small HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{").await;
    let reply = client.reply().await;
    assert_eq!(reply.problem(), "request-timeout");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn bodies_that_would_fill_the_memory_are_told_to_come_back() {
    let intake = IntakeLimits {
        body_memory_bytes: 2048,
        ..roomy()
    };
    let server = TestServer::with_intake(patient(), intake).await;
    let body = format!(r#"{{"name":"{}"}}"#, "n".repeat(1500));
    let mut greedy = server.connect().await;
    let head =
        "POST /v1/room HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 2000\r\n\r\n";
    greedy.send(format!("{head}{}", "n".repeat(1500))).await;
    // Until the server has read the greedy bytes, others still find room.
    let mut refused = server.post("/v1/room", &body).await;
    while refused.status == 201 {
        refused = server.post("/v1/room", &body).await;
    }
    assert_eq!((refused.status, refused.problem().as_str()), (503, "unavailable"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(greedy);
    // Given back when the server has seen that the client is gone.
    for _ in 0..600 {
        if server.post("/v1/room", &body).await.status == 201 {
            return;
        }
    }
    panic!("the memory was not given back");
}

#[tokio::test]
async fn who_announces_a_body_and_sends_none_keeps_nobody_out() {
    let intake = IntakeLimits {
        body_memory_bytes: 2048,
        ..roomy()
    };
    let server = TestServer::with_intake(patient(), intake).await;
    let mut silent = Vec::new();
    for framing in ["content-length: 1000000", "transfer-encoding: chunked"].repeat(20) {
        let mut client = server.connect().await;
        let head =
            "POST /v1/room HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-type: application/json";
        client.send(format!("{head}\r\n{framing}\r\n\r\n")).await;
        // The server asks for the body once it has begun to read it.
        client.until("100 Continue").await;
        silent.push(client);
    }
    assert_eq!(server.post("/v1/room", r#"{"name":"a"}"#).await.status, 201);
}

#[tokio::test]
async fn a_route_without_a_body_reads_none() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client
        .send("GET /live HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n")
        .await;
    let announced = client.reply().await;
    assert_eq!(
        (announced.status, announced.problem().as_str()),
        (400, "invalid-body")
    );
    let sent = server.ask("GET /live HTTP/1.1", "x").await;
    assert_eq!((sent.status, sent.problem().as_str()), (400, "invalid-body"));
    let head = "GET /live HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked";
    let mut client = server.connect().await;
    client.send(format!("{head}\r\n\r\n1\r\nx\r\n0\r\n\r\n")).await;
    assert_eq!(client.reply().await.problem(), "invalid-body");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let server = TestServer::with(ServerLimits {
        stalled_timeout: SOON,
        ..patient()
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET /v1/flood HTTP/1.1\r\nhost: t\r\n\r\n").await;
    tokio::time::sleep(SOON * 5).await;
    // The flood has no end of its own: reading to an end means that the server gave up.
    let mut chunk = vec![0; 1 << 20];
    let mut total = 0;
    while let Ok(n @ 1..) = client.socket.read(&mut chunk).await {
        total += n;
        assert!(
            total < 256 << 20,
            "more than the sockets can hold: the server goes on"
        );
    }
}

#[tokio::test]
async fn a_head_beyond_32_kib_is_a_431() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client
        .send(format!("GET /live HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(40_000)))
        .await;
    assert!(client.rest().await.starts_with(b"HTTP/1.1 431"));
}

#[tokio::test]
async fn above_the_cap_a_connection_waits_until_another_ends() {
    let server = TestServer::with(ServerLimits {
        max_connections: 1,
        ..patient()
    })
    .await;
    let mut first = server.connect().await;
    first.send("GET /live HTTP/1.1\r\nhost: t\r\n\r\n").await;
    first.until("live\n").await;
    let mut second = server.connect().await;
    second
        .send("GET /live HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        .await;
    let mut byte = [0; 1];
    let waits = tokio::time::timeout(SOON * 2, second.socket.read(&mut byte)).await;
    assert!(waits.is_err(), "answered beyond the cap");
    drop(first);
    assert_eq!(second.reply().await.status, 200);
}

#[tokio::test]
async fn draining_closes_idle_connections_at_once() {
    // Before they would be closed for being idle.
    let drain_deadline = Duration::from_secs(20);
    let server = TestServer::with(ServerLimits {
        drain_deadline,
        ..patient()
    })
    .await;
    let mut idle = server.connect().await;
    idle.send("GET /live HTTP/1.1\r\nhost: t\r\n\r\n").await;
    idle.until("live\n").await;
    assert!(server.drained().await, "within the deadline");
    assert_eq!(idle.rest().await, b"");
}

#[tokio::test]
async fn draining_aborts_what_does_not_end_by_the_deadline() {
    let server = TestServer::with(ServerLimits {
        drain_deadline: SOON,
        ..patient()
    })
    .await;
    let mut slow = server.connect().await;
    slow.send("GET /v1/slow HTTP/1.1\r\nhost: t\r\n\r\n").await;
    // The request is in flight once another one, sent later, has been answered.
    assert_eq!(server.get("/live").await.status, 200);
    let lifecycle = server.lifecycle.clone();
    lifecycle.spawn("endless", std::future::pending());
    assert!(!server.drained().await, "something had to be aborted");
    assert_eq!(slow.rest().await, b"");
}

#[tokio::test]
async fn what_hurries_when_the_deadline_is_near_ends_by_itself() {
    let server = TestServer::with(ServerLimits {
        // Half of it is for hurrying, also on a busy machine.
        drain_deadline: Duration::from_secs(2),
        ..patient()
    })
    .await;
    let hurrying = server.lifecycle.hurrying().clone();
    server.lifecycle.spawn(
        "waits for somebody else",
        async move { hurrying.cancelled().await },
    );
    assert!(server.drained().await, "nothing had to be aborted");
}
