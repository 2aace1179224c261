//! Answers kept for a repeated Idempotency-Key: what is kept, and how it is written.
//!
//! A line of JSON with the facts that go into headers, a line feed, then the body as it was sent. Where it is kept, and
//! for how long, is `crate::limits`'s business.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::pipeline::Context;
use super::reply::Facts;
use crate::limits::AnswerKey;

/// An answer as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAnswer {
    /// For the headers.
    pub facts: Facts,
    /// Whether it is a stream's.
    pub stream: bool,
    /// As it was sent.
    pub body: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    stream: bool,
    facts: Facts,
}

impl KeptAnswer {
    /// As it is kept.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let head = Head {
            stream: self.stream,
            facts: self.facts.clone(),
        };
        // Texts and numbers only: writing them to memory cannot fail.
        let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        Bytes::from(bytes)
    }

    /// Reads it; `None` for what another version wrote.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
        Some(Self {
            facts: head.facts,
            stream: head.stream,
            body: bytes.slice(end + 1..),
        })
    }
}

/// Under what a call's answer is kept: nothing for a call without an Idempotency-Key.
#[must_use]
pub fn answer_key(context: &Context) -> Option<AnswerKey> {
    let key = context.incoming.idempotency_key.as_ref()?;
    let identity = context.identity.as_ref()?;
    Some(AnswerKey::of(
        identity.tenant,
        &format!("agent:{}", identity.agent),
        super::handler::ROUTE,
        key,
    ))
}

/// Keeps an answer, if the call has an Idempotency-Key.
pub async fn keep(context: &Context, answer: KeptAnswer) {
    if let Some(key) = answer_key(context) {
        context.services.kept.keep(&key, answer.encode()).await;
    }
}

/// The answer of the first call with this Idempotency-Key, if it still is there.
pub async fn find(context: &Context) -> Option<KeptAnswer> {
    let kept = context.services.kept.find(&answer_key(context)?).await?;
    KeptAnswer::decode(&kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_answer_survives_being_kept() {
        let facts = Facts {
            model: Some("demo-small".parse().unwrap()),
            ..Facts::default()
        };
        let answer = KeptAnswer {
            facts,
            stream: true,
            body: Bytes::from_static(b"data: {}\n\ndata: [DONE]\n\n"),
        };
        assert_eq!(KeptAnswer::decode(&answer.encode()).unwrap(), answer);
        assert_eq!(KeptAnswer::decode(&Bytes::from_static(b"{\"v\":2}\nbody")), None);
    }
}
