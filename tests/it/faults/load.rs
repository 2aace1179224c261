//! Clients that want an answer: each request has an Idempotency-Key and is repeated, to whichever process lives, until
//! its outcome is known. What they were told is held to the log: nothing that was acknowledged is missing, nothing is
//! there twice, and nothing is there that nobody asked for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use counterfoil_events::envelope::Receipt;
use counterfoil_events::ids::{ContentDigest, TenantId};
use counterfoil_events::ledger::StoredEvent;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::api::{Answered, Api, Tenant, card};
use crate::support::invariants::Checker;
use crate::support::random::Random;

/// How often a completion that is said to be under way is asked for again before it is taken for abandoned: those of a
/// process that was killed stay so until the sweeper ends them.
const UNDER_WAY_TRIES: u32 = 12;

/// The processes that take requests now.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Vec<String>>>);

impl Live {
    pub fn add(&self, url: &str) {
        self.0.lock().unwrap().push(url.to_owned());
    }

    pub fn remove(&self, url: &str) {
        self.0.lock().unwrap().retain(|other| other != url);
    }

    async fn any(&self, random: &mut Random) -> String {
        loop {
            let urls = self.0.lock().unwrap().clone();
            if !urls.is_empty() {
                return random.choice(&urls).clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Register,
    Change,
    Run,
    Complete,
    Stream,
}

#[derive(Debug, Clone)]
pub struct Asked {
    kind: Kind,
    tenant: Tenant,
    key: String,
    method: &'static str,
    path: String,
    body: Value,
}

/// What is known of a request in the end.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
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

/// What the clients were told.
#[derive(Default)]
pub struct Told(Vec<(Asked, Outcome)>);

/// Status and name of errors, with a body of each.
type Errors = BTreeMap<(u16, String), String>;

/// What clients see while they are at work: how many answers, and which errors.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<(usize, Errors)>>);

impl Seen {
    fn note(&self, asked: &Asked, answer: &Answered, known: bool) {
        if answer.status >= 500 && !matches!(asked.kind, Kind::Complete | Kind::Stream) {
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
        let mut seen = self.0.lock().unwrap();
        seen.0 += usize::from(known);
        if answer.status >= 400 {
            let detail = String::from_utf8_lossy(&answer.body).into_owned();
            seen.1.entry((answer.status, answer.error())).or_insert(detail);
        }
    }

    pub fn errors(&self) -> Errors {
        self.0.lock().unwrap().1.clone()
    }

    fn answered(&self) -> usize {
        self.0.lock().unwrap().0
    }

    /// Waits until `more` requests have got their answer from now on: the platform makes progress.
    pub async fn progress(&self, more: usize) {
        let (began, until) = (std::time::Instant::now(), self.answered() + more);
        while self.answered() < until {
            let errors = self.errors();
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nothing goes on; {errors:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Clients at work.
pub struct Load {
    pub seen: Seen,
    clients: JoinSet<Vec<(Asked, Outcome)>>,
    stop: CancellationToken,
}

impl Load {
    /// `clients` of them over `tenants`, all on the same agents.
    pub fn start(clients: usize, tenants: &[Tenant], live: &Live, random: &mut Random) -> Self {
        let (stop, seen, mut set) = (CancellationToken::new(), Seen::default(), JoinSet::new());
        for _ in 0..clients {
            let client = Client {
                api: Api::new(),
                tenants: tenants.to_vec(),
                live: live.clone(),
                seen: seen.clone(),
                random: random.fork(),
            };
            set.spawn(client.run(stop.clone()));
        }
        Self {
            seen,
            clients: set,
            stop,
        }
    }

    /// Lets each finish what it has begun; a process must be there that answers.
    pub async fn finish(mut self, told: &mut Told) {
        self.stop.cancel();
        while let Some(more) = self.clients.join_next().await {
            told.0
                .extend(more.expect("a client was answered as it should be"));
        }
    }
}

struct Client {
    api: Api,
    tenants: Vec<Tenant>,
    live: Live,
    seen: Seen,
    random: Random,
}

impl Client {
    async fn run(mut self, stop: CancellationToken) -> Vec<(Asked, Outcome)> {
        let mut told = Vec::new();
        while !stop.is_cancelled() {
            let asked = self.think();
            let outcome = self.resolve(&asked).await;
            // Whoever asks again is told the same, unless nothing was written: then it may be done now.
            if outcome != Outcome::Refused && self.random.below(8) == 0 {
                assert_same(&asked, &outcome, &self.resolve(&asked).await);
            }
            told.push((asked, outcome));
        }
        told
    }

    fn think(&mut self) -> Asked {
        let tenant = self.random.choice(&self.tenants).clone();
        let key = format!("{:016x}{:016x}", self.random.next(), self.random.next());
        let (kind, base) = (self.random.below(16), format!("/v1/tenants/{}", tenant.id));
        let chat = |stream: bool| {
            let messages = json!([{"role": "user", "content": format!("What does {key} mean?")}]);
            json!({"model": "demo-small", "messages": messages, "stream": stream})
        };
        let (kind, method, path, body) = match kind {
            0..=4 => (Kind::Register, "POST", format!("{base}/agents"), card(&key)),
            5..=9 => (
                Kind::Change,
                "PUT",
                format!("{base}/agents/{}", tenant.agent),
                card(&key),
            ),
            10 => (
                Kind::Run,
                "POST",
                format!("{base}/kri-sources/{}/runs", tenant.source),
                json!({}),
            ),
            11..=13 => (
                Kind::Complete,
                "POST",
                "/v1/chat/completions".to_owned(),
                chat(false),
            ),
            _ => (
                Kind::Stream,
                "POST",
                "/v1/chat/completions".to_owned(),
                chat(true),
            ),
        };
        Asked {
            kind,
            tenant,
            key,
            method,
            path,
            body,
        }
    }

    /// Asks until the outcome is known.
    async fn resolve(&mut self, asked: &Asked) -> Outcome {
        let api = match asked.kind {
            Kind::Complete | Kind::Stream => self.api.as_agent(&asked.tenant.key),
            _ => self.api.clone(),
        };
        let mut tries = 0;
        loop {
            let url = format!("{}{}", self.live.any(&mut self.random).await, asked.path);
            let sent = api.send(asked.method, &url, Some(&asked.key), &asked.body).await;
            // No answer, or none whole: the outcome is not known.
            if let Ok(answer) = sent {
                let outcome = judge(asked, &answer, &mut tries);
                self.seen.note(asked, &answer, outcome.is_some());
                if let Some(outcome) = outcome {
                    return outcome;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn judge(asked: &Asked, answer: &Answered, tries: &mut u32) -> Option<Outcome> {
    let error = answer.error();
    match (asked.kind, answer.status, error.as_str()) {
        (_, 503 | 504, _) | (_, 409, "idempotency-key-in-use") => None,
        (Kind::Complete, 200, _) => Some(Outcome::Answered {
            position: answer.position().unwrap(),
            digest: Some(ContentDigest::of(&answer.body)),
        }),
        (Kind::Stream, 200, _) => answer
            .body
            .ends_with(b"data: [DONE]\n\n")
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
        _ => panic!(
            "{asked:?} was answered with {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ),
    }
}

/// The receipts of a command's answer.
pub fn receipts(answer: &Value) -> Vec<Receipt> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let receipts = answer["receipts"].as_array().unwrap().iter();
    receipts
        .map(|one| Receipt {
            tenant: text(one, "tenant").parse().unwrap(),
            position: counterfoil_events::ids::Position(one["position"].as_u64().unwrap()),
            event_id: text(one, "event_id").parse().unwrap(),
            hash: text(one, "hash").parse().unwrap(),
            key_id: text(one, "key_id").parse().unwrap(),
            signature: text(one, "signature").parse().unwrap(),
        })
        .collect()
}

/// A repeated request is told the same, but that an answer may not be kept any more, and that a stream that is told
/// again names its ending, where the first could only name its beginning.
fn assert_same(asked: &Asked, first: &Outcome, again: &Outcome) {
    let same = match (first, again) {
        (Outcome::Answered { .. }, Outcome::Begun { .. }) => true,
        (Outcome::Answered { digest: None, .. }, Outcome::Answered { digest: None, .. }) => true,
        _ => first == again,
    };
    assert!(same, "{asked:?} was told {first:?}, then {again:?}");
}

impl Told {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Every acknowledgement of a command.
    pub fn receipts(&self) -> Vec<Receipt> {
        let of = |outcome: &Outcome| match outcome {
            Outcome::Done(receipts) => receipts.clone(),
            _ => Vec::new(),
        };
        self.0.iter().flat_map(|(_, outcome)| of(outcome)).collect()
    }

    /// Nothing is in the log that was not told, and nothing twice (I7); completions have one beginning and at most one
    /// ending, which is of the answer that was given. `before` is where each log stood when the clients began.
    pub async fn is_all_there_is(&self, checker: &Checker, before: &BTreeMap<TenantId, u64>) {
        for (tenant, before) in before {
            let mut events = checker.events(*tenant).await;
            events.retain(|event| event.recorded.position.0 > *before);
            for (kind, event_type) in [
                (Kind::Register, "AgentRegistered"),
                (Kind::Change, "AgentChanged"),
                (Kind::Run, "KriRunRequested"),
            ] {
                let told: Vec<u64> = self.positions(*tenant, kind);
                assert_eq!(positions(&events, event_type), told, "{tenant}: {event_type}");
            }
            self.completions_are_all_there_is(*tenant, &events);
            at_most_one_each(
                &events,
                "completion",
                &["CompletionSettled", "CompletionFailed", "CompletionLost"],
            );
            at_most_one_each(&events, "kri_run", &["KriRunCompleted", "KriRunFailed"]);
        }
    }

    fn positions(&self, tenant: TenantId, kind: Kind) -> Vec<u64> {
        let of = self
            .0
            .iter()
            .filter(|(asked, _)| asked.tenant.id == tenant && asked.kind == kind);
        let mut positions: Vec<u64> = of
            .filter_map(|(_, outcome)| match outcome {
                Outcome::Done(receipts) => Some(receipts[0].position.0),
                _ => None,
            })
            .collect();
        positions.sort_unstable();
        positions
    }

    fn completions_are_all_there_is(&self, tenant: TenantId, events: &[StoredEvent]) {
        let by_position: BTreeMap<u64, &StoredEvent> = events
            .iter()
            .map(|event| (event.recorded.position.0, event))
            .collect();
        let mut told = BTreeSet::new();
        let completions = |asked: &Asked| matches!(asked.kind, Kind::Complete | Kind::Stream);
        for (asked, outcome) in self
            .0
            .iter()
            .filter(|(asked, _)| asked.tenant.id == tenant && completions(asked))
        {
            let (position, digest) = match outcome {
                Outcome::Answered { position, digest } => (position, *digest),
                Outcome::Begun { position } => (position, None),
                other => panic!("{asked:?} was told {other:?}"),
            };
            let event = by_position[position];
            if let Some(digest) = digest {
                assert_eq!(event.event_type, "CompletionSettled", "{asked:?}");
                let envelope: Value = serde_json::from_str(&event.recorded.envelope).unwrap();
                assert_eq!(envelope["payload"]["response_digest"], digest.to_string());
            }
            assert!(
                told.insert(event.aggregate_id.clone()),
                "two requests became one completion"
            );
        }
        let begun = events
            .iter()
            .filter(|event| event.event_type == "CompletionAuthorized");
        let begun: BTreeSet<String> = begun.map(|event| event.aggregate_id.clone()).collect();
        assert_eq!(
            begun, told,
            "{tenant}: completions that were authorised, and those that somebody asked for"
        );
    }
}

fn positions(events: &[StoredEvent], event_type: &str) -> Vec<u64> {
    let of = events.iter().filter(|event| event.event_type == event_type);
    of.map(|event| event.recorded.position.0).collect()
}

fn at_most_one_each(events: &[StoredEvent], aggregate: &str, endings: &[&str]) {
    let mut ended = BTreeSet::new();
    for event in events.iter().filter(|event| event.aggregate == aggregate) {
        if endings.contains(&event.event_type.as_str()) {
            assert!(
                ended.insert(&event.aggregate_id),
                "{aggregate} {} ended twice",
                event.aggregate_id
            );
        }
    }
}
