//! The conversation: roles, content parts, and how tool results follow the calls that they answer.
//!
//! Order rule: the results (`role: tool`) of an assistant message with `tool_calls` stand right after it,
//! one for each call, and nowhere else. Everything else may come in any order, as OpenAI allows.

use super::check::{Object, Path};
use super::error::ApiError;
use super::node::Node;
use super::tools::{self, ToolCall};

/// Most messages in one request; a bound for what later steps walk through.
pub const MAX_MESSAGES: usize = 2048;
/// Most content parts in one message.
pub const MAX_PARTS: usize = 1024;
/// Longest `tool_call_id`; OpenAI's are 29 characters.
pub const MAX_CALL_ID_CHARS: usize = 128;

const ROLES: [&str; 6] = ["developer", "system", "user", "assistant", "tool", "function"];

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions (the newer name of system).
    Developer,
    /// Instructions.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
    /// A function's result, the older form of a tool's.
    Function,
}

impl Role {
    /// As on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Function => "function",
        }
    }
}

/// What a text of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// What is said.
    Content,
    /// Why the model would not answer.
    Refusal,
    /// The arguments of a tool call.
    Arguments,
}

/// One text that a model will read, with its place in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptText {
    /// Index of the message.
    pub message: usize,
    /// Who speaks.
    pub role: Role,
    /// What it is.
    pub kind: TextKind,
    /// The text.
    pub text: String,
}

/// The conversation as steps see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// Who speaks, message by message.
    pub roles: Vec<Role>,
    /// Texts in order.
    pub texts: Vec<PromptText>,
    /// Content parts whose cost in tokens does not follow from their bytes here (images, audio, files).
    pub opaque_parts: usize,
}

impl Prompt {
    /// Whether the last message is a tool's result.
    #[must_use]
    pub fn ends_with_tool_result(&self) -> bool {
        matches!(self.roles.last(), Some(Role::Tool | Role::Function))
    }

    /// What each message says: its content parts, joined by line feeds.
    #[must_use]
    pub fn contents(&self) -> Vec<String> {
        let mut contents: Vec<Vec<&str>> = vec![Vec::new(); self.roles.len()];
        for part in self.texts.iter().filter(|part| part.kind == TextKind::Content) {
            contents[part.message].push(&part.text);
        }
        contents.iter().map(|parts| parts.join("\n")).collect()
    }

    /// The last text of a user.
    #[must_use]
    pub fn last_user_text(&self) -> Option<&str> {
        self.texts
            .iter()
            .rev()
            .find(|part| part.role == Role::User)
            .map(|part| part.text.as_str())
    }
}

/// Reads and checks `messages`.
///
/// # Errors
/// 400 with the path of the first message that does not fit.
pub fn read(request: Object<'_, '_>) -> Result<Prompt, ApiError> {
    let path = Path::Key(request.path, "messages");
    let items = request
        .list("messages", 1..=MAX_MESSAGES)?
        .ok_or_else(|| path.missing())?;
    let mut reader = Reader::default();
    for (index, item) in items.iter().enumerate() {
        let path = Path::Index(&path, index);
        reader.message(Object::of(item, &path)?, index)?;
    }
    reader.check_all_answered()?;
    Ok(reader.prompt)
}

#[derive(Default)]
struct Reader {
    prompt: Prompt,
    /// Calls of the last assistant message that have no result yet.
    open_calls: Vec<String>,
    /// Index of that message.
    caller: usize,
    /// Whether only results stand between it and here.
    in_results: bool,
}

impl Reader {
    fn message(&mut self, message: Object<'_, '_>, index: usize) -> Result<(), ApiError> {
        let role = role(message)?;
        message.text("name", 64)?;
        self.prompt.roles.push(role);
        if role == Role::Tool {
            self.result(message)?;
        } else {
            self.check_all_answered()?;
            self.in_results = false;
        }
        let calls = if role == Role::Assistant {
            self.assistant(message, index)?
        } else {
            0
        };
        let optional = role == Role::Function
            || calls > 0
            || (role == Role::Assistant && ["refusal", "audio"].iter().any(|key| message.get(key).is_some()));
        self.content(message, role, index, optional)
    }

    fn assistant(&mut self, message: Object<'_, '_>, index: usize) -> Result<usize, ApiError> {
        message.text("refusal", usize::MAX)?;
        let calls = tools::calls(message)?;
        for ToolCall { id, arguments } in &calls {
            if self.open_calls.contains(id) {
                let path = Path::Key(message.path, "tool_calls");
                return Err(path.refuse("invalid_value", "two tool calls have the same 'id'."));
            }
            self.open_calls.push(id.clone());
            self.push_text(index, Role::Assistant, TextKind::Arguments, arguments);
        }
        self.caller = index;
        self.in_results = !calls.is_empty();
        Ok(calls.len() + tools::old_function_call(message)?)
    }

    fn result(&mut self, message: Object<'_, '_>) -> Result<(), ApiError> {
        let id = message.required_text("tool_call_id", MAX_CALL_ID_CHARS)?;
        let path = Path::Key(message.path, "tool_call_id");
        if !self.in_results {
            let what = "messages with role 'tool' must follow an assistant message with 'tool_calls'.";
            return Err(Path::Key(message.path, "role").refuse("invalid_value", what));
        }
        let Some(at) = self.open_calls.iter().position(|open| open == id) else {
            let what = "no tool call of the preceding assistant message waits for this id.";
            return Err(path.refuse("invalid_value", what));
        };
        self.open_calls.swap_remove(at);
        Ok(())
    }

    fn check_all_answered(&self) -> Result<(), ApiError> {
        if self.open_calls.is_empty() {
            return Ok(());
        }
        let path = format!("messages[{}].tool_calls", self.caller);
        let message = "An assistant message with 'tool_calls' must be followed by a tool message for each \
                       'tool_call_id'. Some have none.";
        Err(ApiError::invalid(path, "invalid_value", message))
    }

    fn content(
        &mut self,
        message: Object<'_, '_>,
        role: Role,
        index: usize,
        optional: bool,
    ) -> Result<(), ApiError> {
        let path = Path::Key(message.path, "content");
        match message.get("content") {
            None if optional => Ok(()),
            None => Err(path.missing()),
            Some(Node::Text(text)) => {
                self.push_text(index, role, TextKind::Content, text);
                Ok(())
            }
            Some(Node::List(_)) => {
                let parts = message.list("content", 1..=MAX_PARTS)?.unwrap_or_default();
                for (at, part) in parts.iter().enumerate() {
                    let path = Path::Index(&path, at);
                    self.part(Object::of(part, &path)?, role, index)?;
                }
                Ok(())
            }
            Some(other) => Err(path.wrong_type("one of a string or array of objects", other)),
        }
    }

    fn part(&mut self, part: Object<'_, '_>, role: Role, index: usize) -> Result<(), ApiError> {
        let allowed = part_types(role);
        match part.one_of("type", allowed)? {
            None => return Err(Path::Key(part.path, "type").missing()),
            Some("text") => self.push_text(index, role, TextKind::Content, required_string(part, "text")?),
            Some("refusal") => {
                self.push_text(index, role, TextKind::Refusal, required_string(part, "refusal")?)
            }
            Some("image_url") => {
                let path = Path::Key(part.path, "image_url");
                let image = Object::of(part.require("image_url")?, &path)?;
                required_string(image, "url")?;
                image.text("detail", 16)?;
                self.prompt.opaque_parts += 1;
            }
            Some(key @ ("input_audio" | "file")) => {
                Object::of(part.require(key)?, &Path::Key(part.path, key))?;
                self.prompt.opaque_parts += 1;
            }
            Some(_) => return Err(Path::Key(part.path, "type").not_one_of(allowed)),
        }
        Ok(())
    }

    fn push_text(&mut self, message: usize, role: Role, kind: TextKind, text: &str) {
        let text = text.to_owned();
        self.prompt.texts.push(PromptText {
            message,
            role,
            kind,
            text,
        });
    }
}

fn role(message: Object<'_, '_>) -> Result<Role, ApiError> {
    Ok(match message.one_of("role", &ROLES)? {
        Some("developer") => Role::Developer,
        Some("system") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        Some(_) => Role::Function,
        None => return Err(Path::Key(message.path, "role").missing()),
    })
}

fn part_types(role: Role) -> &'static [&'static str] {
    match role {
        Role::User => &["text", "image_url", "input_audio", "file"],
        Role::Assistant => &["text", "refusal"],
        _ => &["text"],
    }
}

fn required_string<'n>(object: Object<'n, '_>, key: &str) -> Result<&'n str, ApiError> {
    object
        .text(key, usize::MAX)?
        .ok_or_else(|| Path::Key(object.path, key).missing())
}
