//! Tools: what a request declares, what it may choose, and the calls that an assistant message carries.

use super::check::{Object, Path};
use super::error::ApiError;
use super::messages::MAX_CALL_ID_CHARS;
use super::node::Node;

/// Most tools in one request, OpenAI's limit.
pub const MAX_TOOLS: usize = 128;

/// A tool on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDeclaration {
    /// Its name, `[A-Za-z0-9_-]`, at most 64 characters.
    pub name: String,
    /// `function` or `custom`.
    pub kind: &'static str,
}

/// Which tools may or must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// None.
    None,
    /// The model decides.
    Auto,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// A call that an assistant message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// What the result will refer to.
    pub id: String,
    /// The arguments' text.
    pub arguments: String,
}

/// Reads and checks `tools` (and the older `functions`).
///
/// # Errors
/// 400 with the path of the first tool that does not fit.
pub fn declared(request: Object<'_, '_>) -> Result<Vec<ToolDeclaration>, ApiError> {
    let mut tools = Vec::new();
    let path = Path::Key(request.path, "tools");
    for (index, item) in request
        .list("tools", 0..=MAX_TOOLS)?
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let path = Path::Index(&path, index);
        tools.push(tool(Object::of(item, &path)?)?);
    }
    let path = Path::Key(request.path, "functions");
    for (index, item) in request
        .list("functions", 0..=MAX_TOOLS)?
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let path = Path::Index(&path, index);
        tools.push(ToolDeclaration {
            name: function(Object::of(item, &path)?)?,
            kind: "function",
        });
    }
    Ok(tools)
}

fn tool(tool: Object<'_, '_>) -> Result<ToolDeclaration, ApiError> {
    let kind = match tool.one_of("type", &["function", "custom"])? {
        None => return Err(Path::Key(tool.path, "type").missing()),
        Some("custom") => "custom",
        Some(_) => "function",
    };
    let path = Path::Key(tool.path, kind);
    let definition = Object::of(tool.require(kind)?, &path)?;
    let name = if kind == "function" {
        function(definition)?
    } else {
        function_name(definition, "name")?
    };
    Ok(ToolDeclaration { name, kind })
}

fn function(definition: Object<'_, '_>) -> Result<String, ApiError> {
    let name = function_name(definition, "name")?;
    definition.text("description", usize::MAX)?;
    definition.flag("strict")?;
    if let Some(node) = definition.get("parameters") {
        Object::of(node, &Path::Key(definition.path, "parameters"))?;
    }
    Ok(name)
}

/// A name in OpenAI's alphabet for functions.
///
/// # Errors
/// 400 when absent, too long, or with other characters.
pub fn function_name(object: Object<'_, '_>, key: &str) -> Result<String, ApiError> {
    let name = object.required_text(key, 64)?;
    if name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    {
        Ok(name.to_owned())
    } else {
        let what = "string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'.";
        Err(Path::Key(object.path, key).refuse("invalid_value", what))
    }
}

/// Reads and checks `tool_choice` (and the older `function_call`).
///
/// # Errors
/// 400 when it is neither a known word nor a tool of the request.
pub fn choice(request: Object<'_, '_>, tools: &[ToolDeclaration]) -> Result<ToolChoice, ApiError> {
    let key = if request.get("tool_choice").is_some() {
        "tool_choice"
    } else {
        "function_call"
    };
    let path = Path::Key(request.path, key);
    let Some(node) = request.get(key) else {
        return Ok(if tools.is_empty() {
            ToolChoice::None
        } else {
            ToolChoice::Auto
        });
    };
    if tools.is_empty() && node.as_text() != Some("none") {
        return Err(path.refuse("invalid_value", "only allowed when 'tools' are specified."));
    }
    match node {
        Node::Text(word) => match word.as_ref() {
            "none" => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            "required" => Ok(ToolChoice::Required),
            _ => Err(path.not_one_of(&["none", "auto", "required"])),
        },
        Node::Object(_) => named(Object::of(node, &path)?, key, tools),
        other => Err(path.wrong_type("one of a string or an object", other)),
    }
}

fn named(choice: Object<'_, '_>, key: &str, tools: &[ToolDeclaration]) -> Result<ToolChoice, ApiError> {
    if key == "function_call" {
        return among(choice, tools);
    }
    match choice.one_of("type", &["function", "custom", "allowed_tools"])? {
        None => Err(Path::Key(choice.path, "type").missing()),
        Some(kind @ ("function" | "custom")) => {
            let path = Path::Key(choice.path, kind);
            among(Object::of(choice.require(kind)?, &path)?, tools)
        }
        // A subset of the declared tools, in a mode of its own; the upstream checks its inside.
        Some(_) => Ok(ToolChoice::Auto),
    }
}

fn among(choice: Object<'_, '_>, tools: &[ToolDeclaration]) -> Result<ToolChoice, ApiError> {
    let name = function_name(choice, "name")?;
    if tools.iter().any(|tool| tool.name == name) {
        Ok(ToolChoice::Named(name))
    } else {
        let what = "the request declares no tool of this name.";
        Err(Path::Key(choice.path, "name").refuse("invalid_value", what))
    }
}

/// Reads and checks the `tool_calls` of an assistant message.
///
/// # Errors
/// 400 with the path of the first call that does not fit.
pub fn calls(message: Object<'_, '_>) -> Result<Vec<ToolCall>, ApiError> {
    let path = Path::Key(message.path, "tool_calls");
    let items = message.list("tool_calls", 1..=MAX_TOOLS)?.unwrap_or_default();
    let mut calls = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = Path::Index(&path, index);
        calls.push(call(Object::of(item, &path)?)?);
    }
    Ok(calls)
}

fn call(call: Object<'_, '_>) -> Result<ToolCall, ApiError> {
    let id = call.required_text("id", MAX_CALL_ID_CHARS)?.to_owned();
    let (kind, input) = match call.one_of("type", &["function", "custom"])? {
        None => return Err(Path::Key(call.path, "type").missing()),
        Some("custom") => ("custom", "input"),
        Some(_) => ("function", "arguments"),
    };
    let path = Path::Key(call.path, kind);
    let definition = Object::of(call.require(kind)?, &path)?;
    function_name(definition, "name")?;
    let arguments = definition
        .text(input, usize::MAX)?
        .ok_or_else(|| Path::Key(&path, input).missing())?;
    Ok(ToolCall {
        id,
        arguments: arguments.to_owned(),
    })
}

/// How many calls in the older form an assistant message carries: none or one.
///
/// # Errors
/// 400 when it is malformed.
pub fn old_function_call(message: Object<'_, '_>) -> Result<usize, ApiError> {
    let Some(node) = message.get("function_call") else {
        return Ok(0);
    };
    let path = Path::Key(message.path, "function_call");
    let call = Object::of(node, &path)?;
    function_name(call, "name")?;
    call.text("arguments", usize::MAX)?;
    Ok(1)
}
