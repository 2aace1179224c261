//! A provider's chunks on their way to the caller: read for settling, mended where they break the wire's rules.
//!
//! Chunks are forwarded as the bytes that came, except for the edits that official clients rely on: one id,
//! created and model throughout; the role in each choice's first delta; an index on every tool-call delta,
//! id and name in its first only; never `stop` after tool calls; usage only for callers who asked.
//! It is a fold without I/O: [`StreamRelay::take`] for each event, [`StreamRelay::summary`] at any time.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::response::{Usage, lenient_usage, null_as_default};
use super::splice::{self, SpliceError, Step};

/// Most choices and tool calls followed in one stream.
const MAX_FOLLOWED: usize = 256;

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The provider reported a failure inside the stream.
    #[error("the provider reported an error inside its stream")]
    InBand,
    /// A chunk that is not of this wire.
    #[error("a chunk of the stream is malformed")]
    Malformed,
}

impl From<SpliceError> for RelayError {
    fn from(_: SpliceError) -> Self {
        Self::Malformed
    }
}

/// What a stream has amounted to so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSummary {
    /// The last usage that the provider gave (they are cumulative: the last one counts).
    pub usage: Option<Usage>,
    /// Bytes of text and arguments.
    pub output_bytes: u64,
    /// The provider's id for the answer.
    pub upstream_id: Option<String>,
    /// Of the first choice that ended.
    pub finish_reason: Option<String>,
    /// Choices that ended.
    pub finished_choices: u32,
}

#[derive(Deserialize)]
struct ChunkView<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    created: Option<i64>,
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Vec<ChoiceView<'a>>,
    #[serde(default, deserialize_with = "lenient_usage")]
    usage: Option<Usage>,
}

impl<'a> ChunkView<'a> {
    fn read(data: &'a str) -> Result<Self, RelayError> {
        let chunk: Self = serde_json::from_str(data).map_err(|_| RelayError::Malformed)?;
        if chunk.error.is_some_and(|error| error.get() != "null") {
            return Err(RelayError::InBand);
        }
        Ok(chunk)
    }
}

#[derive(Deserialize)]
struct ChoiceView<'a> {
    #[serde(default)]
    index: usize,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    delta: DeltaView<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct DeltaView<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    tool_calls: Vec<CallView<'a>>,
}

#[derive(Deserialize)]
struct CallView<'a> {
    #[serde(default)]
    index: Option<usize>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "null_as_default")]
    function: FunctionView<'a>,
}

#[derive(Deserialize, Default)]
struct FunctionView<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Option<Cow<'a, str>>,
}

#[derive(Debug, Default)]
struct ChoiceState {
    started: bool,
    finished: bool,
    /// Ids of the tool calls so far, by index (empty where the provider gave none).
    calls: Vec<String>,
}

/// Whether an event brings something of an answer: text, a refusal, a tool call, or an end.
///
/// # Errors
/// See [`RelayError`].
pub fn has_content(data: &str) -> Result<bool, RelayError> {
    let chunk = ChunkView::read(data)?;
    let some = |text: &Option<Cow<'_, str>>| text.as_ref().is_some_and(|text| !text.is_empty());
    Ok(chunk.choices.iter().any(|choice| {
        let delta = &choice.delta;
        some(&delta.content)
            || some(&delta.refusal)
            || !delta.tool_calls.is_empty()
            || choice.finish_reason.is_some()
    }))
}

/// The fold over one stream.
#[derive(Debug, Default)]
pub struct StreamRelay {
    include_usage: bool,
    identity: Option<(String, i64, String)>,
    choices: Vec<ChoiceState>,
    summary: StreamSummary,
}

impl StreamRelay {
    /// For a caller who asked for usage, or did not.
    #[must_use]
    pub fn new(include_usage: bool) -> Self {
        Self {
            include_usage,
            ..Self::default()
        }
    }

    /// What the stream has amounted to so far.
    #[must_use]
    pub fn summary(&self) -> &StreamSummary {
        &self.summary
    }

    /// Takes the data of one event; gives what is to be sent on, if anything.
    ///
    /// # Errors
    /// See [`RelayError`]; the stream is over then.
    pub fn take<'d>(&mut self, data: &'d str) -> Result<Option<Cow<'d, str>>, RelayError> {
        let chunk = ChunkView::read(data)?;
        let mut edited = Cow::Borrowed(data);
        if let Some(usage) = chunk.usage {
            self.summary.usage = Some(usage);
            if !self.include_usage && chunk.choices.is_empty() {
                return Ok(None);
            }
        }
        if !self.include_usage && data.contains("\"usage\"") {
            edited = Cow::Owned(splice::remove(&edited, &["usage".into()])?);
        }
        self.keep_identity(&chunk, &mut edited)?;
        for (at, choice) in chunk.choices.iter().enumerate() {
            self.take_choice(at, choice, &mut edited)?;
        }
        Ok(Some(edited))
    }

    /// The first chunk with a choice fixes id, created and model; later ones are made to agree.
    fn keep_identity(&mut self, chunk: &ChunkView<'_>, edited: &mut Cow<'_, str>) -> Result<(), RelayError> {
        let (id, model) = (
            chunk.id.as_deref().unwrap_or(""),
            chunk.model.as_deref().unwrap_or(""),
        );
        let created = chunk.created.unwrap_or(0);
        let Some((first_id, first_created, first_model)) = &self.identity else {
            if !chunk.choices.is_empty() {
                self.identity = Some((id.to_owned(), created, model.to_owned()));
                self.summary.upstream_id = Some(id.to_owned());
            }
            return Ok(());
        };
        if id != first_id {
            set(edited, &["id".into()], &quoted(first_id))?;
        }
        if created != *first_created {
            set(edited, &["created".into()], &first_created.to_string())?;
        }
        if model != first_model {
            set(edited, &["model".into()], &quoted(first_model))?;
        }
        Ok(())
    }

    fn take_choice(
        &mut self,
        at: usize,
        view: &ChoiceView<'_>,
        edited: &mut Cow<'_, str>,
    ) -> Result<(), RelayError> {
        if view.index >= MAX_FOLLOWED {
            return Err(RelayError::Malformed);
        }
        if self.choices.len() <= view.index {
            self.choices.resize_with(view.index + 1, ChoiceState::default);
        }
        let texts = [&view.delta.content, &view.delta.refusal];
        self.summary.output_bytes += texts
            .iter()
            .map(|text| text.as_ref().map_or(0, |t| t.len() as u64))
            .sum::<u64>();
        let choice = &mut self.choices[view.index];
        if !std::mem::replace(&mut choice.started, true) && view.delta.role.is_none() {
            set(
                edited,
                &["choices".into(), at.into(), "delta".into(), "role".into()],
                "\"assistant\"",
            )?;
        }
        for (place, call) in view.delta.tool_calls.iter().enumerate() {
            self.summary.output_bytes += take_call(choice, [at, place], call, edited)?;
        }
        if let Some(reason) = &view.finish_reason {
            let reason = if reason == "stop" && !choice.calls.is_empty() {
                set(
                    edited,
                    &["choices".into(), at.into(), "finish_reason".into()],
                    "\"tool_calls\"",
                )?;
                "tool_calls"
            } else {
                reason
            };
            if !std::mem::replace(&mut choice.finished, true) {
                self.summary.finished_choices += 1;
                self.summary
                    .finish_reason
                    .get_or_insert_with(|| reason.to_owned());
            }
        }
        Ok(())
    }
}

/// Follows one tool-call delta and mends it; gives the bytes of output in it.
fn take_call(
    choice: &mut ChoiceState,
    [at, place]: [usize; 2],
    call: &CallView<'_>,
    edited: &mut Cow<'_, str>,
) -> Result<u64, RelayError> {
    let id = call.id.as_deref().unwrap_or("");
    let known = |calls: &[String]| calls.iter().position(|seen| !id.is_empty() && seen == id);
    let last = choice.calls.len().saturating_sub(1);
    let index = match call.index {
        Some(index) => index,
        None if id.is_empty() => last,
        None => known(&choice.calls).unwrap_or(choice.calls.len()),
    };
    if index >= MAX_FOLLOWED {
        return Err(RelayError::Malformed);
    }
    let path = |rest: &[&'static str]| -> Vec<Step<'static>> {
        let start: [Step<'static>; 5] = [
            "choices".into(),
            at.into(),
            "delta".into(),
            "tool_calls".into(),
            place.into(),
        ];
        start
            .into_iter()
            .chain(rest.iter().map(|key| Step::Key(key)))
            .collect()
    };
    if call.index.is_none() {
        set(edited, &path(&["index"]), &index.to_string())?;
    }
    if index < choice.calls.len() {
        if call.id.is_some() {
            *edited = Cow::Owned(splice::remove(edited, &path(&["id"]))?);
        }
        if call.function.name.is_some() {
            *edited = Cow::Owned(splice::remove(edited, &path(&["function", "name"]))?);
        }
    } else {
        choice.calls.resize(index, String::new());
        choice.calls.push(id.to_owned());
    }
    let text = [&call.function.name, &call.function.arguments];
    Ok(text
        .iter()
        .map(|part| part.as_ref().map_or(0, |p| p.len() as u64))
        .sum())
}

fn set(edited: &mut Cow<'_, str>, path: &[Step<'_>], value: &str) -> Result<(), RelayError> {
    *edited = Cow::Owned(splice::set(edited, path, value)?);
    Ok(())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
