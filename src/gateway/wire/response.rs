//! The whole answer (`chat.completion`) and its usage, as written by the demo provider and as read from others.
//!
//! Reading is lenient where servers differ (absent fields, nulls) and strict where money depends on it: a
//! token count that is no whole number, or beyond [`MAX_COUNT`], is no usage at all.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// Largest count of tokens believed; far beyond any window, small enough for exact arithmetic.
pub const MAX_COUNT: u64 = 1 << 40;

/// Tokens of one call, as the provider counted them. Cached ones are part of the prompt's, reasoning ones
/// part of the completion's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ToSchema)]
#[schema(as = CompletionUsage)]
pub struct Usage {
    /// Tokens in.
    pub prompt_tokens: u64,
    /// Tokens out.
    pub completion_tokens: u64,
    /// Of those in, how many the provider had cached.
    pub cached_tokens: u64,
    /// Of those out, how many were reasoning.
    pub reasoning_tokens: u64,
}

#[derive(Serialize, Deserialize, Default)]
struct UsageWire {
    prompt_tokens: u64,
    completion_tokens: u64,
    #[serde(default)]
    total_tokens: u64,
    #[serde(default, deserialize_with = "null_as_default")]
    prompt_tokens_details: PromptDetails,
    #[serde(default, deserialize_with = "null_as_default")]
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize, Deserialize, Default)]
struct PromptDetails {
    #[serde(default, deserialize_with = "null_as_default")]
    cached_tokens: u64,
}

#[derive(Serialize, Deserialize, Default)]
struct CompletionDetails {
    #[serde(default, deserialize_with = "null_as_default")]
    reasoning_tokens: u64,
}

/// Reads null like an absent field.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Serialize for Usage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        UsageWire {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.prompt_tokens.saturating_add(self.completion_tokens),
            prompt_tokens_details: PromptDetails {
                cached_tokens: self.cached_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: self.reasoning_tokens,
            },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = UsageWire::deserialize(deserializer)?;
        if wire.prompt_tokens.max(wire.completion_tokens) > MAX_COUNT {
            return Err(serde::de::Error::custom("a token count beyond belief"));
        }
        Ok(Self {
            prompt_tokens: wire.prompt_tokens,
            completion_tokens: wire.completion_tokens,
            // More cached than sent would make a cost negative.
            cached_tokens: wire.prompt_tokens_details.cached_tokens.min(wire.prompt_tokens),
            reasoning_tokens: wire
                .completion_tokens_details
                .reasoning_tokens
                .min(wire.completion_tokens),
        })
    }
}

/// Reads a usage object; anything that is none reads as absent, so that settling falls back to an estimate.
pub(super) fn lenient_usage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Usage>, D::Error> {
    let raw = Option::<&serde_json::value::RawValue>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

/// `chat.completion`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChatCompletion {
    /// The provider's id for the answer.
    pub id: String,
    /// Always `chat.completion`.
    #[serde(default)]
    pub object: String,
    /// Seconds since 1970.
    #[serde(default)]
    pub created: i64,
    /// The model that answered, in the provider's words.
    #[serde(default)]
    pub model: String,
    /// One for each answer asked for.
    pub choices: Vec<Choice>,
    /// Tokens, if the provider says.
    #[serde(default, deserialize_with = "lenient_usage")]
    pub usage: Option<Usage>,
    /// The provider's configuration.
    #[serde(default)]
    pub system_fingerprint: Option<String>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Choice {
    /// Place among the choices.
    #[serde(default)]
    pub index: u32,
    /// The answer.
    pub message: AssistantMessage,
    /// Not given by us.
    #[serde(default, skip_deserializing)]
    #[schema(value_type = Option<Object>)]
    pub logprobs: Option<()>,
    /// `stop`, `length`, `tool_calls`, `content_filter`, or the provider's own.
    #[serde(default)]
    pub finish_reason: Option<String>,
}

/// What the model says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct AssistantMessage {
    /// `assistant`.
    #[serde(default)]
    pub role: String,
    /// Text; null when it calls tools.
    #[serde(default)]
    pub content: Option<String>,
    /// Why it will not answer.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Calls of tools.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tool_calls: Vec<ToolCallOut>,
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToolCallOut {
    /// What its result will refer to.
    #[serde(default)]
    pub id: String,
    /// `function`.
    #[serde(default)]
    pub r#type: String,
    /// Name and arguments.
    #[serde(default)]
    pub function: FunctionCall,
}

/// Name and arguments of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct FunctionCall {
    /// Declared name.
    #[serde(default)]
    pub name: String,
    /// JSON text, as the model wrote it.
    #[serde(default)]
    pub arguments: String,
}

impl ChatCompletion {
    /// Bytes of text and arguments in all choices: what an estimate of tokens goes by.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        let of = |choice: &Choice| {
            let message = &choice.message;
            let calls = message
                .tool_calls
                .iter()
                .map(|call| call.function.name.len() + call.function.arguments.len());
            message.content.as_ref().map_or(0, String::len) + calls.sum::<usize>()
        };
        self.choices.iter().map(of).sum::<usize>() as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn usage_reads_what_servers_send_and_refuses_what_cannot_be() {
        let read = |text: &str| serde_json::from_str::<Usage>(text).ok();
        let plain = read(r#"{"prompt_tokens":0,"completion_tokens":7,"total_tokens":7,"extra":1}"#).unwrap();
        assert_eq!(
            plain,
            Usage {
                completion_tokens: 7,
                ..Usage::default()
            }
        );
        let nulls = r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":null,
                        "completion_tokens_details":{"reasoning_tokens":null}}"#;
        assert_eq!(read(nulls).unwrap().prompt_tokens, 5);
        let cached =
            r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}"#;
        assert_eq!(read(cached).unwrap().cached_tokens, 5);
        assert_eq!(read(r#"{"prompt_tokens":-1,"completion_tokens":1}"#), None);
        assert_eq!(read(r#"{"prompt_tokens":1.5,"completion_tokens":1}"#), None);
        assert_eq!(
            read(r#"{"prompt_tokens":9007199254740993,"completion_tokens":1}"#),
            None
        );
    }

    #[test]
    fn an_answer_with_an_absurd_usage_is_still_an_answer() {
        let text = r#"{"id":"a","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":"x"}}"#;
        let answer: ChatCompletion = serde_json::from_str(text).unwrap();
        assert_eq!(answer.usage, None);
        assert_eq!(answer.output_bytes(), 5);
    }
}
