#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::gateway::ending::Used;
use crate::gateway::wire::ChatRequest;

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const STREAM_BODY: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
const ANSWER: &str =
    r#"{"id":"a","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}],"x":1.50}"#;
const ROLE: &str = r#"data: {"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const TEXT: &str = r#"data: {"id":"a","choices":[{"index":0,"delta":{"content":"hi"}}]}"#;

fn settings(base_url: &str) -> OpenAiSettings {
    let limits = AnswerLimits {
        idle: Duration::from_secs(5),
        total: Duration::from_secs(20),
        bytes: 64 * 1024,
    };
    OpenAiSettings {
        name: Code::literal("test"),
        base_url: base_url.to_owned(),
        api_key: Some(SecretString::from("sk-upstream-secret")),
        secret: None,
        max_tokens_field: MaxTokensField::MaxTokens,
        connect_timeout: Duration::from_secs(5),
        first_token_timeout: Duration::from_secs(10),
        limits,
        retry: RetryLimits {
            attempts: 3,
            budget: Duration::from_secs(10),
        },
    }
}

fn call(body: &'static str) -> ProviderCall {
    let request = ChatRequest::parse(body.as_bytes()).unwrap();
    ProviderCall {
        body: Bytes::from_static(body.as_bytes()),
        upstream_model: request.model.clone(),
        request: Arc::new(request),
        max_tokens: 100,
        request_id: "our-id".into(),
        traceparent: Some("00-11111111111111111111111111111111-2222222222222222-01".into()),
        created: 0,
        authorization: None,
        attempts: Default::default(),
    }
}

async fn send(settings: OpenAiSettings, body: &'static str) -> Result<Answered, UpstreamError> {
    OpenAiProvider::new(settings).unwrap().call(call(body)).await
}

async fn whole(server: &MockServer) -> Result<(Bytes, u16), UpstreamError> {
    let answered = send(settings(&server.uri()), BODY).await?;
    let Answer::Whole { body, .. } = answered.answer else {
        panic!("a stream")
    };
    Ok((body, answered.attempts))
}

fn fault(result: Result<Answered, UpstreamError>) -> (UpstreamFault, u16) {
    let error = result.err().expect("a failure");
    (error.fault, error.attempts)
}

async fn answers(server: &MockServer, answers: Vec<ResponseTemplate>) {
    let last = answers.len() - 1;
    for (at, answer) in answers.into_iter().enumerate() {
        let mock = Mock::given(method("POST")).respond_with(answer);
        // Mocks are asked in order; each but the last goes out of the way once it has answered.
        if at < last {
            mock.up_to_n_times(1).mount(server).await
        } else {
            mock.mount(server).await
        }
    }
}

fn events(lines: &[&str]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(lines.join("\n\n") + "\n\n", "text/event-stream; charset=utf-8")
}

/// A server that answers each connection's first request by hand.
async fn by_hand<F, Fut>(answer: F) -> String
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let _ = connection.read(&mut request).await;
            tokio::spawn(answer(connection));
        }
    });
    url
}

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn a_whole_answer_passes_byte_for_byte_and_only_listed_headers_go_out() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/chat/completions"))
        .and(header("authorization", "Bearer sk-upstream-secret"))
        .and(header("content-type", "application/json"))
        .and(header("x-request-id", "our-id"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(ANSWER, "application/json"))
        .mount(&server)
        .await;
    let (body, attempts) = whole(&server).await.unwrap();
    assert_eq!((body, attempts), (Bytes::from_static(ANSWER.as_bytes()), 1));
    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(request.body, BODY.as_bytes());
    let mut names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let listed = [
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "traceparent",
        "user-agent",
        "x-request-id",
    ];
    assert_eq!(names, listed);
}

#[tokio::test]
async fn too_many_requests_are_repeated_after_the_time_asked_for() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after-ms", "20");
    let good = ResponseTemplate::new(200).set_body_raw(ANSWER, "application/json");
    answers(&server, vec![busy.clone(), good]).await;
    let started = Instant::now();
    assert_eq!(whole(&server).await.unwrap().1, 2);
    assert!(started.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_wait_beyond_the_budget_is_handed_to_the_caller() {
    let server = MockServer::start().await;
    answers(
        &server,
        vec![ResponseTemplate::new(429).insert_header("retry-after", "60")],
    )
    .await;
    let error = whole(&server).await.unwrap_err();
    let retry_after = Some(Duration::from_secs(60));
    assert_eq!(
        error,
        UpstreamError {
            fault: UpstreamFault::RateLimited { retry_after },
            attempts: 1
        }
    );
}

#[tokio::test]
async fn a_server_error_is_repeated_and_a_lasting_one_ends_after_the_attempts() {
    let server = MockServer::start().await;
    let broken = ResponseTemplate::new(500).insert_header("retry-after-ms", "1");
    let good = ResponseTemplate::new(200).set_body_raw(ANSWER, "application/json");
    answers(&server, vec![broken.clone(), good]).await;
    assert_eq!(whole(&server).await.unwrap().1, 2);

    let server = MockServer::start().await;
    answers(&server, vec![broken]).await;
    let (provider, call) = (OpenAiProvider::new(settings(&server.uri())).unwrap(), call(BODY));
    let sent = call.attempts.clone();
    let error = provider.call(call).await.err().unwrap();
    assert_eq!((error.fault.status(), error.attempts), (Some(500), 3));
    assert_eq!(sent.count(), 3, "whoever cancels a call knows, too");
    assert_eq!(server.received_requests().await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_proxy_lost_sight_of_may_be_billed_and_is_not_repeated() {
    for status in [502, 504, 520, 524] {
        let server = MockServer::start().await;
        let lost = ResponseTemplate::new(status).insert_header("retry-after-ms", "1");
        let good = ResponseTemplate::new(200).set_body_raw(ANSWER, "application/json");
        answers(&server, vec![lost, good]).await;
        let (fault, attempts) = fault(send(settings(&server.uri()), BODY).await);
        assert_eq!((&fault, attempts), (&UpstreamFault::GaveUp { status }, 1));
        assert_eq!(Used::after(&fault), Used::Unknown, "its bound is booked");
    }
}

#[tokio::test]
async fn what_the_provider_refuses_is_not_repeated() {
    let refusal =
        json!({"error": {"message": "Bad temperature.", "param": "temperature", "code": "invalid"}});
    for (status, expected) in [
        (
            400,
            UpstreamFault::Refused {
                status: 400,
                message: Some("Bad temperature.".into()),
                param: Some("temperature".into()),
                code: Some("invalid".into()),
            },
        ),
        (401, UpstreamFault::Misconfigured { status: 401 }),
        (404, UpstreamFault::Misconfigured { status: 404 }),
    ] {
        let server = MockServer::start().await;
        answers(
            &server,
            vec![ResponseTemplate::new(status).set_body_json(&refusal)],
        )
        .await;
        let error = whole(&server).await.unwrap_err();
        assert_eq!(
            error,
            UpstreamError {
                fault: expected,
                attempts: 1
            },
            "{status}"
        );
    }
    let server = MockServer::start().await;
    let empty = json!({"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}});
    answers(&server, vec![ResponseTemplate::new(429).set_body_json(empty)]).await;
    assert_eq!(
        whole(&server).await.unwrap_err().fault,
        UpstreamFault::Misconfigured { status: 429 }
    );
}

#[tokio::test]
async fn a_redirect_is_refused_and_the_key_goes_nowhere_else() {
    let (elsewhere, server) = (MockServer::start().await, MockServer::start().await);
    answers(
        &server,
        vec![ResponseTemplate::new(307).insert_header("location", elsewhere.uri())],
    )
    .await;
    assert_eq!(
        whole(&server).await.unwrap_err().fault,
        UpstreamFault::Redirect { status: 307 }
    );
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let url = by_hand(|mut connection| async move {
        let _ = connection
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
            .await;
        while connection.write_all(&[b' '; 4096]).await.is_ok() {}
    })
    .await;
    let limit_bytes = 64 * 1024;
    assert_eq!(
        fault(send(settings(&url), BODY).await),
        (UpstreamFault::TooLarge { limit_bytes }, 1)
    );
}

#[tokio::test]
async fn an_endless_stream_is_cut_off() {
    let url = by_hand(|mut connection| async move {
        let _ = connection.write_all(STREAM_HEAD.as_bytes()).await;
        while connection
            .write_all(chunk(&format!("{TEXT}\n\n")).as_bytes())
            .await
            .is_ok()
        {}
    })
    .await;
    let Answer::Stream(stream) = send(settings(&url), STREAM_BODY).await.unwrap().answer else {
        panic!("whole")
    };
    let items: Vec<_> = stream.collect().await;
    assert!(items.len() > 100);
    assert_eq!(
        items.last().unwrap(),
        &Err(UpstreamFault::TooLarge {
            limit_bytes: 64 * 1024
        })
    );
    assert!(items[..items.len() - 1].iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_stream_gives_its_events_without_the_end_mark() {
    let server = MockServer::start().await;
    answers(
        &server,
        vec![events(&[": hello", ROLE, TEXT, "data: [DONE]", TEXT])],
    )
    .await;
    let Answer::Stream(stream) = send(settings(&server.uri()), STREAM_BODY).await.unwrap().answer else {
        panic!("whole")
    };
    let data: Vec<String> = stream.try_collect().await.unwrap();
    assert_eq!(data, [&ROLE["data: ".len()..], &TEXT["data: ".len()..]]);
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_is_an_error_and_is_not_repeated() {
    let server = MockServer::start().await;
    answers(&server, vec![events(&[ROLE, TEXT])]).await;
    let Answer::Stream(stream) = send(settings(&server.uri()), STREAM_BODY).await.unwrap().answer else {
        panic!("whole")
    };
    let items: Vec<_> = stream.collect().await;
    assert_eq!(items.len(), 3);
    assert_eq!(items[2], Err(UpstreamFault::Cut));
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_error_in_a_stream_may_have_been_billed_and_is_not_repeated() {
    let server = MockServer::start().await;
    let failing = events(&[ROLE, r#"data: {"error":{"message":"overloaded"}}"#]);
    answers(&server, vec![failing, events(&[ROLE, TEXT, "data: [DONE]"])]).await;
    let failed = fault(send(settings(&server.uri()), STREAM_BODY).await);
    assert_eq!(failed, (UpstreamFault::InBand, 1));
}

#[tokio::test]
async fn a_first_token_that_does_not_come_is_given_up() {
    let url = by_hand(|mut connection| async move {
        let _ = connection.write_all(STREAM_HEAD.as_bytes()).await;
        let _ = connection
            .write_all(chunk(&format!("{ROLE}\n\n")).as_bytes())
            .await;
        // Held open: the role alone is no content.
        let _ = connection.read(&mut [0; 1]).await;
    })
    .await;
    let mut settings = settings(&url);
    settings.first_token_timeout = Duration::from_millis(100);
    assert_eq!(
        fault(send(settings, STREAM_BODY).await),
        (UpstreamFault::FirstToken { timeout_ms: 100 }, 1)
    );
}

#[tokio::test]
async fn a_stream_that_stands_still_is_given_up() {
    let url = by_hand(|mut connection| async move {
        let text = format!("{STREAM_HEAD}{}", chunk(&format!("{TEXT}\n\n")));
        let _ = connection.write_all(text.as_bytes()).await;
        let _ = connection.read(&mut [0; 1]).await;
    })
    .await;
    let mut settings = settings(&url);
    settings.limits.idle = Duration::from_millis(100);
    let Answer::Stream(stream) = send(settings, STREAM_BODY).await.unwrap().answer else {
        panic!("whole")
    };
    let items: Vec<_> = stream.collect().await;
    assert_eq!(items[1], Err(UpstreamFault::Idle { timeout_ms: 100 }));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let server = MockServer::start().await;
    answers(
        &server,
        vec![ResponseTemplate::new(200).set_delay(Duration::from_secs(60))],
    )
    .await;
    let mut settings = settings(&server.uri());
    settings.limits.total = Duration::from_millis(100);
    assert_eq!(
        fault(send(settings, BODY).await),
        (UpstreamFault::Total { timeout_ms: 100 }, 1)
    );
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_then_said() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut settings = settings(&format!("http://127.0.0.1:{port}"));
    settings.retry.attempts = 2;
    assert_eq!(fault(send(settings, BODY).await), (UpstreamFault::Connect, 2));
}

#[tokio::test]
async fn an_answer_that_is_none_is_malformed() {
    for body in ["hello", "{}", r#"{"id":"a"}"#] {
        let server = MockServer::start().await;
        answers(
            &server,
            vec![ResponseTemplate::new(200).set_body_raw(body, "application/json")],
        )
        .await;
        assert_eq!(
            whole(&server).await.unwrap_err().fault,
            UpstreamFault::Malformed,
            "{body}"
        );
    }
    let server = MockServer::start().await;
    answers(
        &server,
        vec![ResponseTemplate::new(200).set_body_raw(ANSWER, "application/json")],
    )
    .await;
    assert_eq!(
        fault(send(settings(&server.uri()), STREAM_BODY).await).0,
        UpstreamFault::Malformed
    );
}

#[tokio::test]
async fn dropping_a_stream_closes_the_connection() {
    let (closed, mut seen) = tokio::sync::mpsc::channel(1);
    let url = by_hand(move |mut connection| {
        let closed = closed.clone();
        async move {
            let text = format!("{STREAM_HEAD}{}", chunk(&format!("{TEXT}\n\n")));
            let _ = connection.write_all(text.as_bytes()).await;
            // Reading ends when the other side has gone.
            let _ = connection.read(&mut [0; 1]).await;
            let _ = closed.send(()).await;
        }
    })
    .await;
    let answered = send(settings(&url), STREAM_BODY).await.unwrap();
    drop(answered);
    seen.recv().await.unwrap();
}
