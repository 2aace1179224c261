//! The bounds that each call of a function keeps.
//!
//! Of the Rego engine's functions, some build results of any size from small arguments (`numbers.range`,
//! `bits.lsh`, padding in `sprintf`, replacing, joining), and some walk a value as a tree that is small only because
//! its parts are shared. The engine looks extensions up before its own functions, so every allowed function is
//! installed again as an extension: it weighs its arguments, estimates its result before it is built, and charges
//! what it built to the evaluation. No clock is involved: the same input meets the same bound.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use anyhow::bail;
use regorus::unstable::{BUILTINS, Expr, Ref, Source, Span};
use regorus::{Engine, Value};

use super::builtins::ALLOWED;

/// Most bytes that one call may be given. Above the largest input document.
const CALL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes that the calls of one evaluation may return in all, and that one may be expected to return. It bounds a
/// thread's memory.
const EVALUATION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most elements of a range.
const RANGE_ELEMENTS_MAX: i64 = 10_000;
/// Largest shift: enough for any bit field, too little to fill memory.
const SHIFT_BITS_MAX: i64 = 1_024;
/// Comparing this many bytes costs about as much as building one.
const COMPARED_BYTES_PER_BYTE: usize = 16;
/// What one value counts beside its text: about what the engine needs for it.
const VALUE_BYTES: usize = 32;

thread_local! {
    static CHARGED_BYTES: Cell<usize> = const { Cell::new(0) };
    static OVER_LIMIT: Cell<bool> = const { Cell::new(false) };
}

/// Starts the account of one evaluation on this thread.
pub(super) fn open_account() {
    CHARGED_BYTES.set(0);
    OVER_LIMIT.set(false);
}

/// Whether the evaluation on this thread met a bound since [`open_account`].
pub(super) fn over_limit() -> bool {
    OVER_LIMIT.get()
}

/// Installs the bounded functions over the engine's own.
pub(super) fn install(engine: &mut Engine) -> anyhow::Result<()> {
    for call in calls()? {
        let (name, arity) = (call.name.to_owned(), call.arguments.len());
        let run = move |values: Vec<Value>| call.run(values);
        engine.add_extension(name, u8::try_from(arity)?, Box::new(run))?;
    }
    Ok(())
}

/// One of each for all policies.
fn calls() -> anyhow::Result<Vec<Arc<Call>>> {
    static CALLS: OnceLock<Vec<Arc<Call>>> = OnceLock::new();
    if let Some(calls) = CALLS.get() {
        return Ok(calls.clone());
    }
    let source = Source::from_contents("builtin".to_owned(), " ".to_owned())?;
    let span = Span {
        source,
        line: 1,
        col: 1,
        start: 0,
        end: 1,
    };
    let call = |name| match BUILTINS.get(name) {
        Some(&(function, arity)) => Ok(Arc::new(Call::new(name, function, arity, &span))),
        None => bail!("the Rego engine was built without {name}"),
    };
    let calls: Vec<_> = ALLOWED.into_iter().map(call).collect::<anyhow::Result<_>>()?;
    Ok(CALLS.get_or_init(|| calls).clone())
}

type BuiltinFunction = fn(&Span, &[Ref<Expr>], &[Value], bool) -> anyhow::Result<Value>;

struct Call {
    name: &'static str,
    function: BuiltinFunction,
    /// The engine's functions want the expressions of their arguments, only to point at them in errors.
    arguments: Vec<Ref<Expr>>,
    span: Span,
}

impl Call {
    fn new(name: &'static str, function: BuiltinFunction, arity: u8, span: &Span) -> Self {
        let null = || Expr::Null {
            span: span.clone(),
            value: Value::Null,
            eidx: 0,
        };
        let arguments = (0..arity).map(|_| Ref::new(null())).collect();
        Self {
            name,
            function,
            arguments,
            span: span.clone(),
        }
    }

    fn run(&self, values: Vec<Value>) -> anyhow::Result<Value> {
        if weigh_all(&values) > CALL_BYTES_MAX || self.estimate(&values) > EVALUATION_BYTES_MAX {
            return self.refuse("is given more than a policy may hold");
        }
        let result = if self.name == "strings.replace_n" {
            self.replace_all(&values)?
        } else {
            // Strict: an error is an error and denies, rather than an undefined value that `not` would turn round.
            (self.function)(&self.span, &self.arguments, &values, true).map_err(|error| bare(&error))?
        };
        self.charge(&values, &result)?;
        Ok(result)
    }

    /// An upper bound of the result's bytes, for the functions that can return much more than they are given.
    fn estimate(&self, values: &[Value]) -> usize {
        let estimate = match (self.name, values) {
            ("numbers.range", [from, to]) => range_bytes(from, to, 1),
            ("numbers.range_step", [from, to, step]) => range_bytes(from, to, step.as_i64().unwrap_or(1)),
            ("bits.lsh", [_, Value::Number(shift)]) => shift
                .as_i64()
                .is_some_and(|bits| bits <= SHIFT_BITS_MAX)
                .then_some(0),
            ("concat", [Value::String(delimiter), parts]) => joined_bytes(delimiter, parts),
            ("replace", [Value::String(text), Value::String(old), Value::String(new)]) => {
                Some(replaced_bytes(text, old, new))
            }
            ("regex.replace", [Value::String(text), _, Value::String(new)]) => {
                let groups = new.matches('$').count().saturating_mul(text.len());
                Some((text.len() + 1).saturating_mul(new.len()).saturating_add(groups))
            }
            // They compare at every place anew.
            ("indexof" | "indexof_n", [Value::String(text), Value::String(part)]) => {
                Some(text.len().saturating_mul(part.len()) / COMPARED_BYTES_PER_BYTE)
            }
            ("sprintf", [Value::String(format), _]) => (longest_number(format) <= 4).then_some(0),
            _ => Some(0),
        };
        estimate.unwrap_or(usize::MAX)
    }

    /// Replaces pair by pair, so that each result is checked before it feeds the next.
    fn replace_all(&self, values: &[Value]) -> anyhow::Result<Value> {
        let [Value::Object(pairs), Value::String(text)] = values else {
            bail!("strings.replace_n takes an object of strings and a string");
        };
        let mut text = text.to_string();
        for pair in pairs.iter_sorted() {
            let (Value::String(old), Value::String(new)) = pair else {
                bail!("strings.replace_n takes an object of strings and a string");
            };
            if replaced_bytes(&text, old, new) > EVALUATION_BYTES_MAX {
                return self.refuse("would return more than a policy may hold");
            }
            text = text.replace(old.as_ref(), new.as_ref());
        }
        Ok(Value::from(text))
    }

    fn charge(&self, values: &[Value], result: &Value) -> anyhow::Result<()> {
        let built = match result {
            Value::String(text) => text.len(),
            // It hands out a part of what it was given.
            _ if self.name == "object.get" => 0,
            Value::Array(_) | Value::Set(_) | Value::Object(_) => {
                weigh_all(values).saturating_add(weigh_parts(result))
            }
            _ => 0,
        };
        let charged = CHARGED_BYTES.get().saturating_add(built);
        CHARGED_BYTES.set(charged);
        if charged > EVALUATION_BYTES_MAX {
            self.refuse("would return more than a policy may build in one evaluation")?;
        }
        Ok(())
    }

    fn refuse(&self, why: &str) -> anyhow::Result<Value> {
        OVER_LIMIT.set(true);
        bail!("{} {why}", self.name)
    }
}

/// The reason without the place: it would be one in the placeholder.
fn bare(error: &anyhow::Error) -> anyhow::Error {
    anyhow::Error::msg(super::error::locate(error).1)
}

fn range_bytes(from: &Value, to: &Value, step: i64) -> Option<usize> {
    let (from, to) = (from.as_i64().ok()?, to.as_i64().ok()?);
    let elements = to
        .checked_sub(from)?
        .checked_abs()?
        .checked_div(step.checked_abs()?.max(1))?;
    (elements < RANGE_ELEMENTS_MAX).then_some(0)
}

fn joined_bytes(delimiter: &str, parts: &Value) -> Option<usize> {
    let count = match parts {
        Value::Array(parts) => parts.len(),
        Value::Set(parts) => parts.len(),
        _ => 0,
    };
    Some(delimiter.len().saturating_mul(count))
}

fn replaced_bytes(text: &str, old: &str, new: &str) -> usize {
    if new.len() <= old.len() {
        return text.len();
    }
    text.matches(old)
        .count()
        .saturating_mul(new.len())
        .saturating_add(text.len())
}

/// Digits of the longest run of them: a width or precision of five digits pads to at least 10,000 characters.
fn longest_number(format: &str) -> usize {
    format
        .split(|c: char| !c.is_numeric())
        .map(str::len)
        .max()
        .unwrap_or(0)
}

fn weigh_all(values: &[Value]) -> usize {
    values.iter().fold(0, |weight, value| weigh(value, weight))
}

/// Adds the bytes of a value as a tree, without going on once it is over the limit: shared parts count each time
/// they occur, since that is how often a function that walks the value meets them.
fn weigh(value: &Value, so_far: usize) -> usize {
    let weight = so_far.saturating_add(VALUE_BYTES);
    if weight > CALL_BYTES_MAX {
        return weight;
    }
    match value {
        Value::String(text) => weight.saturating_add(text.len()),
        Value::Array(items) => until_too_heavy(items.iter(), weight),
        Value::Set(items) => until_too_heavy(items.iter(), weight),
        Value::Object(fields) => until_too_heavy(fields.iter().flat_map(|(k, v)| [k, v]), weight),
        _ => weight,
    }
}

fn until_too_heavy<'a>(mut items: impl Iterator<Item = &'a Value>, weight: usize) -> usize {
    let sum = items.try_fold(weight, |weight, item| {
        let weight = weigh(item, weight);
        if weight > CALL_BYTES_MAX {
            Err(weight)
        } else {
            Ok(weight)
        }
    });
    sum.unwrap_or_else(|too_heavy| too_heavy)
}

/// A container's own bytes and those of the strings directly in it.
fn weigh_parts(container: &Value) -> usize {
    let shallow = |value: &Value| match value {
        Value::String(text) => text.len() + VALUE_BYTES,
        _ => VALUE_BYTES,
    };
    match container {
        Value::Array(items) => items.iter().map(shallow).sum(),
        Value::Set(items) => items.iter().map(shallow).sum(),
        Value::Object(fields) => fields.iter().map(|(k, v)| shallow(k) + shallow(v)).sum(),
        _ => 0,
    }
}
