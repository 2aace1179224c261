//! Providers of every temper, over real sockets: what the caller is told, what the log says, and what nobody sees.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};

use crate::support::installation::Installation;
use crate::support::provider::{MODELS, PRIVATE_WORDS, PROVIDER_KEY, Provider};
use crate::support::reply::Reply;
use crate::support::served::Served;
use crate::support::world::World;

/// A gateway in front of the stand-in.
pub(super) struct Bench {
    pub provider: Provider,
    pub installation: Installation,
    pub server: Served,
    pub world: World,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let provider = Provider::start().await;
        let installation = Installation::made(|directory| provider.configuration(directory)).await;
        provider.look_into(installation.admin());
        let server = installation.serve().await;
        let world = World::new(&server, &MODELS).await;
        Self {
            provider,
            installation,
            server,
            world,
        }
    }

    pub(super) fn call(&self, model: &str, stream: bool) -> reqwest::RequestBuilder {
        let body =
            json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]});
        let url = format!("{}/v1/chat/completions", self.server.url);
        reqwest::Client::new()
            .post(url)
            .bearer_auth(&self.world.key)
            .json(&body)
    }

    /// The payload of the latest event of the tenant's log.
    pub(super) async fn last_event(&self) -> (String, Value) {
        let page = self
            .server
            .get(&self.world.path("/events?aggregate=completion&limit=500"))
            .await
            .good();
        let item = page["items"].as_array().unwrap().last().unwrap().clone();
        let envelope: Value = serde_json::from_str(item["envelope"].as_str().unwrap()).unwrap();
        (
            item["type"].as_str().unwrap().to_owned(),
            envelope["payload"].clone(),
        )
    }

    /// Everything that was kept or said: events, documents, logs.
    async fn everything_written(&self) -> String {
        let mut connection = self.installation.admin().connect().await.unwrap();
        let mut all: Vec<String> = Vec::new();
        for query in [
            "SELECT envelope FROM counterfoil.events",
            "SELECT body FROM counterfoil.documents",
        ] {
            all.extend(
                sqlx::query_scalar::<_, String>(query)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap(),
            );
        }
        connection.close().await.unwrap();
        all.push(self.server.log());
        all.join("\n")
    }
}

/// How a call of a plain answer ends: model, status and code for the caller, type and code of the event.
const WHOLE: [(&str, u16, &str, &str, &str); 12] = [
    ("good", 200, "", "CompletionSettled", ""),
    ("no-usage", 200, "", "CompletionSettled", ""),
    (
        "silent",
        504,
        "upstream_total_timeout",
        "CompletionFailed",
        "provider_timeout",
    ),
    (
        "slow",
        504,
        "upstream_idle_timeout",
        "CompletionFailed",
        "provider_timeout",
    ),
    (
        "cut",
        502,
        "upstream_cut",
        "CompletionFailed",
        "provider_broke_off",
    ),
    (
        "malformed",
        502,
        "upstream_malformed",
        "CompletionFailed",
        "provider_answer_malformed",
    ),
    (
        "not-a-completion",
        502,
        "upstream_malformed",
        "CompletionFailed",
        "provider_answer_malformed",
    ),
    (
        "html",
        502,
        "upstream_malformed",
        "CompletionFailed",
        "provider_answer_malformed",
    ),
    (
        "e401",
        502,
        "upstream_refused_gateway",
        "CompletionFailed",
        "provider_rejected",
    ),
    (
        "e404",
        502,
        "upstream_refused_gateway",
        "CompletionFailed",
        "provider_rejected",
    ),
    (
        "e429",
        429,
        "rate_limit_exceeded",
        "CompletionFailed",
        "provider_rate_limited",
    ),
    (
        "e500",
        502,
        "upstream_failed",
        "CompletionFailed",
        "provider_failed",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_of_a_plain_call_is_told_and_recorded_and_none_of_the_providers_words_are() {
    let bench = Bench::new().await;
    for (model, status, code, event_type, event_code) in WHOLE {
        let reply = Reply::of(bench.call(model, false)).await;
        assert_eq!(reply.status, status, "{model}: {}", reply.text);
        assert!(!reply.text.contains(PRIVATE_WORDS), "{model}: {}", reply.text);
        let private_headers = reply
            .headers
            .iter()
            .any(|(name, _)| name == "set-cookie" || name.as_str().starts_with("x-provider"));
        assert!(!private_headers, "{model}: {:?}", reply.headers);
        let (found_type, payload) = bench.last_event().await;
        assert_eq!(found_type, event_type, "{model}: {payload}");
        if status == 200 {
            assert_eq!(reply.json()["choices"][0]["message"]["content"], "Hello there");
            assert_eq!(
                payload["usage"]["estimated"],
                model == "no-usage",
                "{model}: {payload}"
            );
            assert_eq!(payload["finish_reason"], "stop");
        } else {
            assert_eq!(reply.json()["error"]["code"], code, "{model}: {}", reply.text);
            assert_eq!(payload["code"], event_code, "{model}: {payload}");
        }
        let calls = bench.provider.calls(model);
        assert_eq!(calls.len(), 1, "{model}");
        assert_eq!(
            calls[0].open, 1,
            "{model}: its authorisation was durable when the provider saw the call"
        );
        assert!(
            calls[0]
                .head
                .to_lowercase()
                .contains(&format!("authorization: bearer {PROVIDER_KEY}"))
        );
        assert!(
            !calls[0].head.contains(&bench.world.key),
            "the caller's key stays here"
        );
    }
    // A request that the provider refuses is the caller's to correct, in the provider's words, which go nowhere else.
    let refused = Reply::of(bench.call("e400", false)).await;
    assert_eq!(
        (refused.status, bench.last_event().await.1["code"].as_str()),
        (400, Some("provider_rejected"))
    );
    let written = bench.everything_written().await;
    for words in [
        PRIVATE_WORDS,
        PROVIDER_KEY,
        bench.world.key.as_str(),
        "Hello there",
    ] {
        assert!(
            !written.contains(words),
            "{words} is in an event, a document or a log"
        );
    }
}

/// How a call of a stream ends: model, status, the code of the error in or instead of the stream, type and code of the
/// event.
const STREAMED: [(&str, u16, &str, &str, &str); 10] = [
    ("good", 200, "", "CompletionSettled", ""),
    ("no-usage", 200, "", "CompletionSettled", ""),
    (
        "silent",
        504,
        "upstream_first_token_timeout",
        "CompletionFailed",
        "provider_timeout",
    ),
    (
        "slow",
        200,
        "upstream_idle_timeout",
        "CompletionFailed",
        "provider_timeout",
    ),
    (
        "cut",
        200,
        "upstream_cut",
        "CompletionFailed",
        "provider_broke_off",
    ),
    (
        "malformed",
        200,
        "upstream_malformed",
        "CompletionFailed",
        "provider_answer_malformed",
    ),
    (
        "not-a-completion",
        200,
        "upstream_cut",
        "CompletionFailed",
        "provider_broke_off",
    ),
    (
        "in-band",
        200,
        "upstream_error_in_stream",
        "CompletionFailed",
        "provider_failed",
    ),
    (
        "e429",
        429,
        "rate_limit_exceeded",
        "CompletionFailed",
        "provider_rate_limited",
    ),
    (
        "e500",
        502,
        "upstream_failed",
        "CompletionFailed",
        "provider_failed",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_of_a_stream_is_told_and_recorded_and_none_of_the_providers_words_are() {
    let bench = Bench::new().await;
    for (model, status, code, event_type, event_code) in STREAMED {
        let reply = Reply::of(bench.call(model, true)).await;
        assert_eq!(reply.status, status, "{model}: {}", reply.text);
        assert!(!reply.text.contains(PRIVATE_WORDS), "{model}: {}", reply.text);
        let done = reply.text.trim_end().ends_with("data: [DONE]");
        assert_eq!(
            done,
            code.is_empty(),
            "{model}: only a settled stream ends with [DONE]: {}",
            reply.text
        );
        let (found_type, payload) = bench.last_event().await;
        assert_eq!(found_type, event_type, "{model}: {payload}");
        if code.is_empty() {
            assert_eq!(
                payload["usage"]["estimated"],
                model == "no-usage",
                "{model}: {payload}"
            );
        } else {
            assert!(
                reply.text.contains(&format!("\"code\":\"{code}\"")),
                "{model}: {}",
                reply.text
            );
            assert_eq!(payload["code"], event_code, "{model}: {payload}");
        }
        let calls = bench.provider.calls(model);
        assert_eq!((calls.len(), calls[0].open), (1, 1), "{model}");
        assert_eq!(
            calls[0].body["stream_options"]["include_usage"], true,
            "usage is always asked for"
        );
    }
    let written = bench.everything_written().await;
    for words in [PRIVATE_WORDS, PROVIDER_KEY, "Hello there"] {
        assert!(
            !written.contains(words),
            "{words} is in an event, a document or a log"
        );
    }
}
