//! A request, and what its answers say of the outcome.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::{ContentDigest, Position};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::installation::TOKEN;
use crate::support::reply::Reply;
use crate::support::world::{World, agent_card};

/// How often a completion that is said to be under way is asked for again before it is taken for abandoned: those of a
/// process that was killed stay so until the sweeper ends them.
const UNDER_WAY_TRIES: u32 = 12;

/// What requests are about.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub world: World,
    /// A source of a KRI.
    pub source: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Register,
    Change,
    Run,
    Complete,
    Stream,
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub kind: Kind,
    pub tenant: Tenant,
    key: String,
    method: Method,
    pub path: String,
    body: Value,
}

impl Asked {
    /// A request that differs from every other by its key.
    pub fn new(kind: Kind, tenant: Tenant, key: String) -> Self {
        let world = &tenant.world;
        let card = || agent_card(&key, &["demo-small"]);
        let chat = |stream: bool| {
            let messages = json!([{"role": "user", "content": format!("What does {key} mean?")}]);
            json!({"model": "demo-small", "messages": messages, "stream": stream})
        };
        let completions = || "/v1/chat/completions".to_owned();
        let (method, path, body) = match kind {
            Kind::Register => (Method::POST, world.path("/agents"), card()),
            Kind::Change => (
                Method::PUT,
                world.path(&format!("/agents/{}", world.agent)),
                card(),
            ),
            Kind::Run => {
                let runs = world.path(&format!("/kri-sources/{}/runs", tenant.source));
                (Method::POST, runs, json!({}))
            }
            Kind::Complete => (Method::POST, completions(), chat(false)),
            Kind::Stream => (Method::POST, completions(), chat(true)),
        };
        Self {
            kind,
            tenant,
            key,
            method,
            path,
            body,
        }
    }

    /// Whether it is a completion, asked for by an agent.
    pub fn completes(&self) -> bool {
        matches!(self.kind, Kind::Complete | Kind::Stream)
    }

    pub fn request(&self, http: &reqwest::Client, url: &str) -> reqwest::RequestBuilder {
        let token = match self.completes() {
            true => &self.tenant.world.key,
            false => TOKEN,
        };
        let request = http.request(self.method.clone(), url).bearer_auth(token);
        request.header("Idempotency-Key", &self.key).json(&self.body)
    }
}

/// What is known of a request in the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A command that was done.
    Done(Vec<Receipt>),
    /// A command that contradicted another: nothing was written.
    Refused,
    /// A completion that was answered; of a plain one, the digest of the answer.
    Answered {
        position: u64,
        digest: Option<ContentDigest>,
    },
    /// A completion that was authorised and whose answer is lost.
    Begun { position: u64 },
}

/// What an answer says of the outcome; nothing when it has to be asked for again. `tries` counts how often a completion
/// was said to be under way.
pub fn judge(asked: &Asked, answer: &Reply, tries: &mut u32) -> Option<Outcome> {
    let error = answer.error();
    match (asked.kind, answer.status, error.as_str()) {
        (_, 503 | 504, _) => None,
        (Kind::Complete, 200, _) => Some(Outcome::Answered {
            position: answer.position().unwrap(),
            digest: Some(ContentDigest::of(answer.text.as_bytes())),
        }),
        (Kind::Stream, 200, _) => answer
            .text
            .ends_with("data: [DONE]\n\n")
            .then(|| Outcome::Answered {
                position: answer.position().unwrap(),
                digest: None,
            }),
        (_, 409, "idempotency_key_used") => Some(Outcome::Begun {
            position: answer.position().unwrap(),
        }),
        (_, 409, "idempotency_key_in_use") => {
            *tries += 1;
            (*tries == UNDER_WAY_TRIES).then(|| Outcome::Begun {
                position: answer.position().unwrap(),
            })
        }
        (Kind::Change, 409, "conflict") => Some(Outcome::Refused),
        (_, 200..=202, _) => Some(Outcome::Done(receipts(&answer.json()))),
        _ => panic!("{asked:?} was answered with {} {}", answer.status, answer.text),
    }
}

/// The receipts of a command's answer.
fn receipts(answer: &Value) -> Vec<Receipt> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let receipts = answer["receipts"].as_array().unwrap().iter();
    receipts
        .map(|one| Receipt {
            tenant: text(one, "tenant").parse().unwrap(),
            position: Position(one["position"].as_u64().unwrap()),
            event_id: text(one, "event_id").parse().unwrap(),
            hash: text(one, "hash").parse().unwrap(),
            key_id: text(one, "key_id").parse().unwrap(),
            signature: text(one, "signature").parse().unwrap(),
        })
        .collect()
}

/// A repeated request is told the same, but that an answer may not be kept any more, and that a stream that is told
/// again names its ending, where the first could only name its beginning. Positions differ then; that they are of one
/// completion is seen in the log (`Told`).
pub fn assert_same(asked: &Asked, first: &Outcome, again: &Outcome) {
    let same = match (first, again) {
        (Outcome::Answered { .. }, Outcome::Begun { .. }) => true,
        // The answer was settled and kept while the client had given up on it.
        (Outcome::Begun { .. }, Outcome::Answered { .. }) => true,
        (Outcome::Answered { digest: None, .. }, Outcome::Answered { digest: None, .. }) => true,
        _ => first == again,
    };
    assert!(same, "{asked:?} was told {first:?}, then {again:?}");
}
