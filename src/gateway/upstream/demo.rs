//! The built-in provider: answers at once, without network and without a model, and says so.
//!
//! Its answer is a function of the conversation: asking again, plain or streamed, gives the same words. It
//! honours `max_tokens`, `n`, `stop`, `response_format` and tools (the first one offered is called, unless the
//! conversation ends with a tool's result), and counts its "tokens" exactly, so that demonstrations,
//! tests and benchmarks see every part of the wire with figures that can be checked by hand.

use std::time::Duration;

use bytes::Bytes;
use counterfoil_events::text::Code;
use futures::future::{self, BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _};
use serde_json::Value;

use super::demo_text::{answer, from_schema};
use super::{Answer, Answered, Provider, ProviderCall, UpstreamError};
use crate::gateway::wire::chunk::{Chunk, ChunkChoice, Delta, FunctionDelta, ToolCallDelta};
use crate::gateway::wire::request::{ChatRequest, MaxTokensField, ResponseFormat};
use crate::gateway::wire::response::{
    AssistantMessage, ChatCompletion, Choice, FunctionCall, ToolCallOut, Usage,
};
use crate::gateway::wire::tools::ToolChoice;

/// The provider's name.
pub const NAME: Code = Code::literal("demo");
/// Longest piece of text that counts as one token.
const TOKEN_CHARS: usize = 6;
/// Tokens in one streamed chunk.
const TOKENS_PER_CHUNK: usize = 4;
const FINGERPRINT: &str = "fp_counterfoil_demo";

/// The built-in provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct DemoProvider;

impl Provider for DemoProvider {
    fn name(&self) -> &Code {
        const { &NAME }
    }

    fn max_tokens_field(&self) -> MaxTokensField {
        MaxTokensField::MaxCompletionTokens
    }

    fn total_timeout(&self) -> Duration {
        // It answers at once; the time is for callers who read its stream slowly.
        Duration::from_secs(60)
    }

    fn call(&self, call: ProviderCall) -> BoxFuture<'_, Result<Answered, UpstreamError>> {
        call.attempts.begin();
        let composed = Composed::new(&call);
        let answer = if call.request.stream {
            Answer::Stream(stream::iter(composed.events(&call.request)).map(Ok).boxed())
        } else {
            composed.whole()
        };
        future::ready(Ok(Answered { answer, attempts: 1 })).boxed()
    }
}

/// What one choice says.
enum Said {
    Text(String),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
}

struct ComposedChoice {
    said: Said,
    finish_reason: &'static str,
}

/// A finished answer, before it is written as one document or as chunks.
struct Composed {
    id: String,
    created: i64,
    model: String,
    choices: Vec<ComposedChoice>,
    usage: Usage,
}

impl Composed {
    fn new(call: &ProviderCall) -> Self {
        let digest = conversation_digest(call);
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let limit = usize::try_from(call.max_tokens).unwrap_or(usize::MAX);
        let mut usage = Usage {
            prompt_tokens: prompt_tokens(&call.request),
            ..Usage::default()
        };
        let mut choices = Vec::new();
        for index in 0..call.request.choices {
            let seed = seed(&digest, index);
            let (choice, tokens) = limited(compose(call, &body, seed), &call.request.stop, limit);
            usage.completion_tokens += tokens as u64;
            choices.push(choice);
        }
        let id = format!("chatcmpl-demo-{}", hex::encode(&digest.as_bytes()[..12]));
        Self {
            id,
            created: call.created,
            model: call.upstream_model.to_string(),
            choices,
            usage,
        }
    }

    fn whole(&self) -> Answer {
        let choice = |(index, choice): (usize, &ComposedChoice)| Choice {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            message: choice.said.message(),
            logprobs: None,
            finish_reason: Some(choice.finish_reason.to_owned()),
        };
        let completion = ChatCompletion {
            id: self.id.clone(),
            object: "chat.completion".to_owned(),
            created: self.created,
            model: self.model.clone(),
            choices: self.choices.iter().enumerate().map(choice).collect(),
            usage: Some(self.usage),
            system_fingerprint: Some(FINGERPRINT.to_owned()),
        };
        // Strings and integers only: serialising them into memory cannot fail.
        let body = Bytes::from(serde_json::to_vec(&completion).unwrap_or_default());
        Answer::Whole { body, completion }
    }

    fn events(&self, request: &ChatRequest) -> Vec<String> {
        // Where usage was asked for, all chunks before the one that carries it say null.
        let usage = request.include_usage.then_some(None);
        let mut events = Vec::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            for delta in choice.said.deltas() {
                events.push(self.event(vec![piece(index, delta, None)], usage));
            }
            events.push(self.event(
                vec![piece(index, Delta::default(), Some(choice.finish_reason))],
                usage,
            ));
        }
        events.push(self.event(Vec::new(), Some(Some(self.usage))));
        events
    }

    fn event(&self, choices: Vec<ChunkChoice<'_>>, usage: Option<Option<Usage>>) -> String {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        };
        // As above.
        serde_json::to_string(&chunk).unwrap_or_default()
    }
}

fn piece<'a>(index: u32, delta: Delta<'a>, finish_reason: Option<&'a str>) -> ChunkChoice<'a> {
    ChunkChoice {
        index,
        delta,
        logprobs: None,
        finish_reason,
    }
}

impl Said {
    fn message(&self) -> AssistantMessage {
        let role = "assistant".to_owned();
        match self {
            Said::Text(text) => AssistantMessage {
                role,
                content: Some(text.clone()),
                ..AssistantMessage::default()
            },
            Said::Call { id, name, arguments } => {
                let function = FunctionCall {
                    name: name.clone(),
                    arguments: arguments.clone(),
                };
                let call = ToolCallOut {
                    id: id.clone(),
                    r#type: "function".to_owned(),
                    function,
                };
                AssistantMessage {
                    role,
                    tool_calls: vec![call],
                    ..AssistantMessage::default()
                }
            }
        }
    }

    fn deltas(&self) -> Vec<Delta<'_>> {
        match self {
            Said::Text(text) => {
                let first = Delta {
                    role: Some("assistant"),
                    content: Some(""),
                    ..Delta::default()
                };
                let more = chunks(text).into_iter().map(|part| Delta {
                    content: Some(part),
                    ..Delta::default()
                });
                std::iter::once(first).chain(more).collect()
            }
            Said::Call { id, name, arguments } => {
                let delta = |first: bool, arguments| Delta {
                    role: first.then_some("assistant"),
                    content: None,
                    tool_calls: vec![ToolCallDelta {
                        index: 0,
                        id: first.then_some(id.as_str()),
                        r#type: first.then_some("function"),
                        function: FunctionDelta {
                            name: first.then_some(name.as_str()),
                            arguments,
                        },
                    }],
                };
                let more = chunks(arguments).into_iter().map(|part| delta(false, part));
                std::iter::once(delta(true, "")).chain(more).collect()
            }
        }
    }
}

/// The same for the same conversation, whether it is streamed or not.
fn conversation_digest(call: &ProviderCall) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026 demo answer v1");
    hasher.update(call.upstream_model.as_str().as_bytes());
    for part in &call.request.prompt.texts {
        hasher.update(&[0, part.role as u8]).update(part.text.as_bytes());
    }
    hasher.finalize()
}

fn seed(digest: &blake3::Hash, choice: u32) -> u64 {
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(bytes).wrapping_add(choice.into())
}

fn compose(call: &ProviderCall, body: &Value, seed: u64) -> Said {
    let request = &call.request;
    if let Some(name) = tool_to_call(request) {
        let tools = body.get("tools").and_then(Value::as_array);
        let is_it = |tool: &&Value| tool.pointer("/function/name").and_then(Value::as_str) == Some(name);
        let schema = tools
            .and_then(|tools| tools.iter().find(is_it))
            .and_then(|tool| tool.pointer("/function/parameters"));
        let arguments = schema.map_or_else(
            || "{}".to_owned(),
            |schema| from_schema(schema, seed, 0).to_string(),
        );
        return Said::Call {
            id: format!("call_demo_{seed:016x}"),
            name: name.to_owned(),
            arguments,
        };
    }
    let asked = request.prompt.last_user_text().unwrap_or_default();
    let text = answer(seed, asked, call.upstream_model.as_str().contains("large"));
    Said::Text(match request.response_format {
        ResponseFormat::Text => text,
        ResponseFormat::JsonObject => {
            serde_json::json!({"provider": NAME.as_str(), "answer": text}).to_string()
        }
        ResponseFormat::JsonSchema => {
            let schema = body
                .pointer("/response_format/json_schema/schema")
                .unwrap_or(&Value::Null);
            from_schema(schema, seed, 0).to_string()
        }
    })
}

fn tool_to_call(request: &ChatRequest) -> Option<&str> {
    let first = request
        .tools
        .iter()
        .find(|tool| tool.kind == "function")
        .map(|tool| tool.name.as_str());
    match &request.tool_choice {
        ToolChoice::None => None,
        ToolChoice::Named(name) => Some(name),
        ToolChoice::Required => first,
        ToolChoice::Auto if request.prompt.ends_with_tool_result() => None,
        ToolChoice::Auto => first,
    }
}

/// Applies stop sequences and the limit; gives the choice and its number of tokens.
fn limited(said: Said, stop: &[String], limit: usize) -> (ComposedChoice, usize) {
    match said {
        Said::Text(mut text) => {
            let stops = stop.iter().filter(|sequence| !sequence.is_empty());
            if let Some(at) = stops.filter_map(|sequence| text.find(sequence.as_str())).min() {
                text.truncate(at);
            }
            let (cut, tokens) = cut(&mut text, limit);
            let finish_reason = if cut { "length" } else { "stop" };
            (
                ComposedChoice {
                    said: Said::Text(text),
                    finish_reason,
                },
                tokens,
            )
        }
        Said::Call {
            id,
            name,
            mut arguments,
        } => {
            let (cut, tokens) = cut(&mut arguments, limit);
            let finish_reason = if cut { "length" } else { "tool_calls" };
            (
                ComposedChoice {
                    said: Said::Call { id, name, arguments },
                    finish_reason,
                },
                tokens,
            )
        }
    }
}

fn cut(text: &mut String, limit: usize) -> (bool, usize) {
    let tokens = tokens(text);
    if tokens.len() <= limit {
        return (false, tokens.len());
    }
    let kept = tokens[..limit].iter().map(|token| token.len()).sum();
    text.truncate(kept);
    (true, limit)
}

fn prompt_tokens(request: &ChatRequest) -> u64 {
    let texts = request
        .prompt
        .texts
        .iter()
        .map(|part| tokens(&part.text).len() as u64)
        .sum::<u64>();
    texts + 4 * request.prompt.roles.len() as u64 + 3
}

/// The demo provider's own tokens: words with the blank after them, in pieces of [`TOKEN_CHARS`] characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let (mut start, mut chars) = (0, 0);
    for (at, letter) in text.char_indices() {
        chars += 1;
        if letter.is_whitespace() || chars == TOKEN_CHARS {
            let end = at + letter.len_utf8();
            tokens.push(&text[start..end]);
            (start, chars) = (end, 0);
        }
    }
    if start < text.len() {
        tokens.push(&text[start..]);
    }
    tokens
}

/// The text in pieces of [`TOKENS_PER_CHUNK`] tokens.
fn chunks(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let mut start = 0;
    for group in tokens(text).chunks(TOKENS_PER_CHUNK) {
        let end = start + group.iter().map(|token| token.len()).sum::<usize>();
        chunks.push(&text[start..end]);
        start = end;
    }
    chunks
}

#[cfg(test)]
#[path = "demo_tests.rs"]
mod tests;
