//! `POST /v1/chat/completions`: the request, checked, as the pipeline sees it (step ingress.schema).
//!
//! Known fields are checked for type, range and how they fit together; unknown ones pass (policy may say
//! otherwise). The result holds what steps and settling need, not the document: what goes upstream are the
//! caller's own bytes.

use counterfoil_events::text::ModelName;
use utoipa::ToSchema;

use super::check::{Object, Path};
use super::error::ApiError;
use super::messages::{self, Prompt};
use super::node::Node;
use super::tools::{self, ToolChoice, ToolDeclaration};

/// Most choices that one call may ask for.
pub const MAX_CHOICES: i128 = 128;
/// Beyond any model's window; keeps later products of counts and prices inside 64 bits.
pub const MAX_TOKENS: i128 = 16_777_216;

/// Which field the caller limits the answer's length with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxTokensField {
    /// The older name, which most compatible servers know.
    MaxTokens,
    /// The name that OpenAI's newer models insist on.
    MaxCompletionTokens,
}

impl MaxTokensField {
    /// The field's name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// A checked request.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model as the caller named it.
    pub model: ModelName,
    /// The conversation.
    pub prompt: Prompt,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the caller asked for usage at the end of the stream.
    pub include_usage: bool,
    /// How many choices.
    pub choices: u32,
    /// The answer's limit in tokens, and by which field it was given.
    pub max_tokens: Option<(MaxTokensField, u64)>,
    /// Tools on offer.
    pub tools: Vec<ToolDeclaration>,
    /// Which of them the model may or must call.
    pub tool_choice: ToolChoice,
    /// The kind of answer asked for.
    pub response_format: ResponseFormat,
    /// Stop sequences.
    pub stop: Vec<String>,
    /// Names of top-level fields, in order: what policies may look at beyond the fields above.
    pub fields: Vec<String>,
}

/// `response_format`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ResponseFormat {
    /// Free text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of the schema declared in the request.
    JsonSchema,
}

/// A request, for the API description: the fields that are looked at. Others pass through.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ChatCompletionRequest {
    /// One of `GET /v1/models`.
    model: String,
    /// The conversation, as OpenAI describes it.
    #[schema(value_type = Vec<Object>)]
    messages: Vec<()>,
    /// Whether the answer is to be streamed.
    stream: Option<bool>,
    /// How many answers, 1 to 128.
    n: Option<u32>,
    /// The limit of each answer in tokens; `max_tokens` is its older name.
    max_completion_tokens: Option<u64>,
    /// Tools on offer.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<()>>,
}

impl ChatRequest {
    /// Reads and checks a request body.
    ///
    /// # Errors
    /// 400 with the JSON path in `param`; nothing of the body stands in the message.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let root = Node::parse(body).map_err(|error| not_json(&error))?;
        let object = Object::of(&root, &Path::Root).map_err(|_| not_an_object())?;
        let stream = object.flag("stream")?.unwrap_or(false);
        let tools = tools::declared(object)?;
        let request = Self {
            model: model(object)?,
            prompt: messages::read(object)?,
            stream,
            include_usage: include_usage(object, stream)?,
            choices: choices(object)?,
            max_tokens: max_tokens(object)?,
            tool_choice: tools::choice(object, &tools)?,
            tools,
            response_format: response_format(object)?,
            stop: stop(object)?,
            fields: object
                .members()
                .iter()
                .map(|(name, _)| name.to_string())
                .collect(),
        };
        check_sampling(object)?;
        check_labels(object)?;
        Ok(request)
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    // serde's text holds the kind of fault and its place, but may quote a short piece after the colon for
    // data errors; only our own sentences come from there.
    let what = match error.classify() {
        serde_json::error::Category::Data => format!("{error}"),
        _ => format!(
            "not valid JSON at line {} column {}",
            error.line(),
            error.column()
        ),
    };
    let mut refusal = ApiError::invalid(
        "",
        "invalid_json",
        format!("We could not parse the body of your request: {what}."),
    );
    refusal.param = None;
    refusal
}

fn not_an_object() -> ApiError {
    let mut refusal = ApiError::invalid(
        "",
        "invalid_type",
        "The body of your request must be a JSON object.",
    );
    refusal.param = None;
    refusal
}

/// Model names stand in events, headers and metrics, so their alphabet is the log's.
fn model(object: Object<'_, '_>) -> Result<ModelName, ApiError> {
    let name = object.required_text("model", usize::MAX)?;
    let refuse = |_| {
        let path = Path::Key(object.path, "model");
        path.refuse(
            "invalid_value",
            "a model's name has at most 128 letters, digits and . _ : / @ + -",
        )
    };
    name.parse().map_err(refuse)
}

fn include_usage(object: Object<'_, '_>, stream: bool) -> Result<bool, ApiError> {
    let Some(node) = object.get("stream_options") else {
        return Ok(false);
    };
    let path = Path::Key(object.path, "stream_options");
    let options = Object::of(node, &path)?;
    if !stream {
        return Err(path.refuse("invalid_value", "only allowed when 'stream' is true."));
    }
    options.flag("include_obfuscation")?;
    Ok(options.flag("include_usage")?.unwrap_or(false))
}

fn choices(object: Object<'_, '_>) -> Result<u32, ApiError> {
    let count = object.integer("n", 1..=MAX_CHOICES)?.unwrap_or(1);
    Ok(u32::try_from(count).unwrap_or(1)) // In range by the line above.
}

fn max_tokens(object: Object<'_, '_>) -> Result<Option<(MaxTokensField, u64)>, ApiError> {
    let old = object.integer("max_tokens", 1..=MAX_TOKENS)?;
    let new = object.integer("max_completion_tokens", 1..=MAX_TOKENS)?;
    if old.is_some() && new.is_some() {
        let path = Path::Key(object.path, "max_tokens");
        return Err(path.refuse(
            "invalid_value",
            "'max_completion_tokens' is set too; send one of them.",
        ));
    }
    let value = |limit: i128| u64::try_from(limit).unwrap_or(1); // In range by the checks above.
    Ok(new
        .map(|limit| (MaxTokensField::MaxCompletionTokens, value(limit)))
        .or(old.map(|limit| (MaxTokensField::MaxTokens, value(limit)))))
}

fn response_format(object: Object<'_, '_>) -> Result<ResponseFormat, ApiError> {
    let Some(node) = object.get("response_format") else {
        return Ok(ResponseFormat::Text);
    };
    let path = Path::Key(object.path, "response_format");
    let format = Object::of(node, &path)?;
    match format.one_of("type", &["text", "json_object", "json_schema"])? {
        None => Err(Path::Key(&path, "type").missing()),
        Some("json_object") => Ok(ResponseFormat::JsonObject),
        Some("json_schema") => {
            let path = Path::Key(&path, "json_schema");
            let schema = Object::of(format.require("json_schema")?, &path)?;
            tools::function_name(schema, "name")?;
            if let Some(node) = schema.get("schema") {
                Object::of(node, &Path::Key(&path, "schema"))?;
            }
            schema.flag("strict")?;
            Ok(ResponseFormat::JsonSchema)
        }
        Some(_) => Ok(ResponseFormat::Text),
    }
}

fn stop(object: Object<'_, '_>) -> Result<Vec<String>, ApiError> {
    let path = Path::Key(object.path, "stop");
    match object.get("stop") {
        None => Ok(Vec::new()),
        Some(Node::Text(text)) => Ok(vec![text.to_string()]),
        Some(Node::List(_)) => {
            let items = object.list("stop", 1..=4)?.unwrap_or_default();
            let text = |(index, item): (usize, &Node<'_>)| {
                let wrong = || Path::Index(&path, index).wrong_type("a string", item);
                item.as_text().map(str::to_owned).ok_or_else(wrong)
            };
            items.iter().enumerate().map(text).collect()
        }
        Some(other) => Err(path.wrong_type("one of a string or array of strings", other)),
    }
}

/// Fields that steer sampling: only their ranges concern the gateway.
fn check_sampling(object: Object<'_, '_>) -> Result<(), ApiError> {
    object.number("temperature", 0.0..=2.0)?;
    object.number("top_p", 0.0..=1.0)?;
    object.number("frequency_penalty", -2.0..=2.0)?;
    object.number("presence_penalty", -2.0..=2.0)?;
    object.integer("seed", i64::MIN.into()..=i64::MAX.into())?;
    let logprobs = object.flag("logprobs")?.unwrap_or(false);
    if object.integer("top_logprobs", 0..=20)?.is_some() && !logprobs {
        let path = Path::Key(object.path, "top_logprobs");
        return Err(path.refuse("invalid_value", "only allowed when 'logprobs' is true."));
    }
    if let Some(node) = object.get("logit_bias") {
        let path = Path::Key(object.path, "logit_bias");
        let bias = Object::of(node, &path)?;
        for (token, _) in bias.members() {
            bias.number(token, -100.0..=100.0)?;
        }
    }
    Ok(())
}

/// Fields that label the call.
fn check_labels(object: Object<'_, '_>) -> Result<(), ApiError> {
    for key in ["user", "safety_identifier", "prompt_cache_key"] {
        object.text(key, 512)?;
    }
    for key in [
        "service_tier",
        "reasoning_effort",
        "verbosity",
        "prompt_cache_retention",
    ] {
        object.text(key, 64)?;
    }
    for key in ["store", "parallel_tool_calls"] {
        object.flag(key)?;
    }
    for key in ["audio", "prediction", "web_search_options"] {
        if let Some(node) = object.get(key) {
            Object::of(node, &Path::Key(object.path, key))?;
        }
    }
    object.list("modalities", 0..=8)?;
    let Some(node) = object.get("metadata") else {
        return Ok(());
    };
    let path = Path::Key(object.path, "metadata");
    let metadata = Object::of(node, &path)?;
    if metadata.members().len() > 16 {
        return Err(path.refuse("object_above_max_properties", "at most 16 pairs are allowed."));
    }
    for (name, _) in metadata.members() {
        metadata.text(name, 512)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
