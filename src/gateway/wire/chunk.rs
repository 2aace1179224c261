//! Stream chunks (`chat.completion.chunk`) as the demo provider writes them.
//!
//! Reading and mending other providers' chunks is [`super::relay`]'s business.

use serde::Serialize;

use super::response::Usage;

/// One chunk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chunk<'a> {
    /// The same in every chunk of a stream, like the next three.
    pub id: &'a str,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that answers.
    pub model: &'a str,
    /// The provider's configuration.
    pub system_fingerprint: &'a str,
    /// Usually one; none in the chunk that carries usage.
    pub choices: Vec<ChunkChoice<'a>>,
    /// Outer `None`: no such key. `Some(None)`: null, in all chunks before the last when usage was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// A piece of one choice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChunkChoice<'a> {
    /// Which choice.
    pub index: u32,
    /// What is new.
    pub delta: Delta<'a>,
    /// Not given by us.
    pub logprobs: Option<()>,
    /// Null until the choice's last chunk.
    pub finish_reason: Option<&'a str>,
}

/// What is new in a choice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Delta<'a> {
    /// In the first only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'a str>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
    /// More of the calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta<'a>>,
}

/// A piece of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolCallDelta<'a> {
    /// Which call; always there.
    pub index: u32,
    /// In the call's first piece only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// In the call's first piece only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'a str>,
    /// Name (first piece only) and more of the arguments.
    pub function: FunctionDelta<'a>,
}

/// A piece of a call's name and arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionDelta<'a> {
    /// In the call's first piece only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// More of the arguments' text.
    pub arguments: &'a str,
}
