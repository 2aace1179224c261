//! Fetching from servers that behave, misbehave and attack: real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

/// A server that says what it is told, and ends with the test.
struct RawServer {
    url: String,
    task: JoinHandle<Infallible>,
}

impl RawServer {
    /// Answers each request's head by `answer`, which is given the connection.
    async fn start<F, Fut>(answer: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = std::io::Result<()>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let _ = connection.read(&mut head).await;
                // The client hangs up in the middle of most of these.
                let _ = answer(connection).await;
            }
        });
        Self { url, task }
    }

    async fn says(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut connection| {
            let bytes = bytes.clone();
            async move { connection.write_all(&bytes).await }
        })
        .await
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn mock(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn config() -> FetchConfig {
    FetchConfig {
        max_bytes: 1_000,
        allow_private: vec!["127.0.0.1".parse().unwrap()],
        ..FetchConfig::default()
    }
}

async fn fetch(config: &FetchConfig, url: &str) -> Result<String, ConnectorError> {
    Fetcher::new(config).text(url, "text/plain", None).await
}

async fn code(url: &str) -> String {
    fetch(&config(), url).await.expect_err(url).code().to_string()
}

#[tokio::test]
async fn a_document_within_the_limits_is_fetched() {
    let server = mock(ResponseTemplate::new(200).set_body_string("é".repeat(500))).await;
    assert_eq!(fetch(&config(), &server.uri()).await.unwrap(), "é".repeat(500));
    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(request.headers["accept"], "text/plain");
    assert_eq!(request.headers["accept-encoding"], "identity");
    assert!(
        request.headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("counterfoil/")
    );
}

#[tokio::test]
async fn a_private_address_is_not_even_connected_to() {
    let server = mock(ResponseTemplate::new(200).set_body_string("1")).await;
    let port = server.address().port();
    let narrow = FetchConfig {
        allow_private: vec![format!("127.0.0.1:{}", port.wrapping_add(1)).parse().unwrap()],
        ..FetchConfig::default()
    };
    for config in [FetchConfig::default(), narrow] {
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
        ] {
            let error = fetch(&config, &format!("http://{host}:{port}/"))
                .await
                .unwrap_err();
            assert_eq!(error.code().as_str(), "address_refused", "{host}");
            assert!(!error.to_string().contains("127.0.0.1"), "{error}");
            assert!(error.detail().unwrap().contains("loopback"));
        }
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn one_private_address_among_those_of_a_name_refuses_the_name() {
    let fetcher = Fetcher::new(&FetchConfig::default());
    let addresses: [SocketAddr; 2] = ["8.8.8.8:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()];
    assert!(fetcher.admit(&addresses[..1]).is_ok());
    assert_eq!(fetcher.admit(&addresses).unwrap_err().address, addresses[1]);
}

#[tokio::test]
async fn the_connection_goes_to_the_checked_addresses_whatever_the_name_resolves_to() {
    let server = mock(ResponseTemplate::new(200).set_body_string("1")).await;
    let target = Target::parse(&format!("http://rebind.invalid:{}/", server.address().port())).unwrap();
    let fetcher = Fetcher::new(&config());
    let response = fetcher
        .request(&target, &[*server.address()], "text/plain", None)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let requests = server.received_requests().await.unwrap();
    assert!(
        requests[0].headers["host"]
            .to_str()
            .unwrap()
            .starts_with("rebind.invalid")
    );

    let client = fetcher.client(&target, &[*server.address()]).unwrap();
    let other = format!("http://localhost:{}/", server.address().port());
    assert!(client.get(other).send().await.unwrap_err().is_connect());
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn redirects_are_refused_wherever_they_lead() {
    let inner = mock(ResponseTemplate::new(200).set_body_string("1")).await;
    for status in [301, 302, 303, 307, 308] {
        for location in [
            inner.uri(),
            "http://169.254.169.254/".to_owned(),
            "/here".to_owned(),
        ] {
            let server = mock(ResponseTemplate::new(status).insert_header("location", location)).await;
            assert_eq!(code(&server.uri()).await, "redirect_refused");
        }
    }
    assert_eq!(inner.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_status_other_than_success_is_an_error_and_its_body_is_not_read() {
    for status in [400, 401, 404, 429, 500, 503] {
        let server = mock(ResponseTemplate::new(status).set_body_string("secret")).await;
        let error = fetch(&config(), &server.uri()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the source answers {status} instead of 200")
        );
        assert_eq!(error.is_transient(), status == 429 || status >= 500);
    }
}

#[tokio::test]
async fn the_limit_holds_to_the_byte() {
    let server = mock(ResponseTemplate::new(200).set_body_string("x".repeat(1_000))).await;
    assert_eq!(fetch(&config(), &server.uri()).await.unwrap().len(), 1_000);
    let server = mock(ResponseTemplate::new(200).set_body_string("x".repeat(1_001))).await;
    assert_eq!(code(&server.uri()).await, "payload_too_large");
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_at_the_limit() {
    let server = RawServer::start(|mut connection| async move {
        connection
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await?;
        loop {
            connection.write_all(b"10\r\n0123456789abcdef\r\n").await?;
        }
    })
    .await;
    assert_eq!(code(&server.url).await, "payload_too_large");
}

#[tokio::test]
async fn a_server_that_is_silent_or_drips_is_left_at_the_deadline() {
    let config = FetchConfig {
        total_timeout_ms: 200,
        ..config()
    };
    let silent = RawServer::start(|connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
        Ok(())
    })
    .await;
    let dripping = RawServer::start(|mut connection| async move {
        connection
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
            .await?;
        loop {
            connection.write_all(b"x").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for server in [silent, dripping] {
        let error = fetch(&config, &server.url).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source did not answer in full within 200 ms"
        );
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn what_is_not_http_or_breaks_off_is_an_error_whose_words_stay_in_the_log() {
    let endless_head = RawServer::start(|mut connection| async move {
        connection.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        loop {
            connection
                .write_all(b"X-Filler: 0123456789012345678901234567890123456789\r\n")
                .await?;
        }
    })
    .await;
    for server in [
        endless_head,
        RawServer::says("220 smtp.example ESMTP secret\r\n").await,
        RawServer::says("").await,
        RawServer::says("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nsecret").await,
        RawServer::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n").await,
        RawServer::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n").await,
    ] {
        let error = fetch(&config(), &server.url).await.unwrap_err();
        assert_eq!(error.code().as_str(), "answer_interrupted", "{error:?}");
        assert!(!error.to_string().contains("secret"));
        assert!(error.detail().is_some());
    }
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_before_any_of_it_is_read() {
    let server = RawServer::says("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await;
    assert_eq!(code(&server.url).await, "payload_too_large");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused_compressed_ones_among_them() {
    let server = mock(ResponseTemplate::new(200).set_body_bytes(b"rate\n\xff".to_vec())).await;
    let error = fetch(&config(), &server.uri()).await.unwrap_err();
    assert_eq!(error.to_string(), "the source's answer is not UTF-8 (byte 6)");
    let gzip = ResponseTemplate::new(200)
        .insert_header("content-encoding", "gzip")
        .set_body_bytes(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let server = mock(gzip).await;
    assert_eq!(code(&server.uri()).await, "payload_not_utf8");
}

#[tokio::test]
async fn a_source_that_cannot_be_reached_says_which_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(code(&closed).await, "connect_failed");
    let plain = RawServer::says("HTTP/1.1 200 OK\r\n\r\n").await;
    assert_eq!(
        code(&plain.url.replace("http:", "https:")).await,
        "connect_failed"
    );
    // A label over 63 characters fails in the resolver without asking any server.
    let unresolvable = format!("http://{}.example/", "a".repeat(64));
    assert_eq!(code(&unresolvable).await, "host_unresolved");
    assert_eq!(code("ftp://127.0.0.1/").await, "url_refused");
}
