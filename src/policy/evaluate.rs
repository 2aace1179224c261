//! One evaluation of one compiled policy: input in, answer or fault out, within the limits.
//!
//! Each evaluation runs on a fresh clone of the compiled engine, so that nothing of one call reaches another and
//! what the call built is dropped with it. What bounds it: time, by the engine's own timer, which it consults
//! between expressions; memory, by the account of `bounds`, plus what expressions build within that time;
//! the answer, by the shape of [`RegoDecision`].

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use counterfoil_events::text::Code;
use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;

use super::bounds;
use super::compile::{CompiledPolicy, rule_path};
use super::decision::{
    Fault, MAX_REASONS, MAX_TOKENS_CAP, Obligations, RESERVED_PREFIX, RegoDecision, STEERABLE_STEPS, StepMode,
};
use super::error::{Place, locate};
use super::inspect::ENTRY_POINT;

/// How many steps of evaluation pass between two looks at the clock: some microseconds.
const STEPS_PER_CLOCK_READ: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// Why an evaluation has no usable value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) at: Option<Place>,
    /// In the engine's words, or ours. It may quote the input: for the author of a test, never for an event or a log.
    pub(super) reason: String,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            at: None,
            reason: String::new(),
        }
    }
}

/// Evaluates the entry point.
pub(super) fn decide(
    policy: &CompiledPolicy,
    input: Value,
    time_limit: Duration,
) -> Result<RegoDecision, Failure> {
    match rule_value(policy, ENTRY_POINT, Some(input), time_limit)? {
        Value::Undefined => Err(Fault::Undefined.into()),
        value => read_decision(&value, &policy.literals).map_err(|reason| Failure {
            fault: Fault::MalformedDecision,
            at: None,
            reason,
        }),
    }
}

/// Evaluates one rule of the policy.
pub(super) fn rule_value(
    policy: &CompiledPolicy,
    rule: &str,
    input: Option<Value>,
    time_limit: Duration,
) -> Result<Value, Failure> {
    let mut engine = policy.engine.clone();
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: time_limit,
        check_interval: STEPS_PER_CLOCK_READ,
    });
    engine.set_input(input.unwrap_or_else(Value::new_object));
    bounds::open_account();
    let started = Instant::now();
    let result = engine.eval_rule(rule_path(rule));
    // Over a limit there is no answer, whatever the engine made of the error that it met.
    if bounds::over_limit() {
        return Err(failure(Fault::MemoryLimit, &result));
    }
    if started.elapsed() > time_limit {
        return Err(failure(Fault::TimeLimit, &result));
    }
    result.map_err(|error| failure(Fault::Error, &Err(error)))
}

fn failure(fault: Fault, result: &anyhow::Result<Value>) -> Failure {
    let (at, reason) = match result {
        Err(error) => locate(error),
        Ok(_) => (None, String::new()),
    };
    Failure { fault, at, reason }
}

/// Reads the answer, strictly: exact types, no unknown keys, reasons that stand in the policy's own text. What is wrong is
/// said for the policy's author.
fn read_decision(value: &Value, literals: &BTreeSet<String>) -> Result<RegoDecision, String> {
    let mut allow = None;
    let mut decision = RegoDecision {
        allow: false,
        reasons: Vec::new(),
        obligations: Obligations::default(),
    };
    for (key, value) in members("it", value)? {
        match key.as_str() {
            "allow" => allow = Some(*value.as_bool().map_err(|_| "`allow` must be true or false")?),
            "reasons" => decision.reasons = read_reasons(value, literals)?,
            "obligations" => decision.obligations = read_obligations(value)?,
            other => {
                return Err(format!(
                    "it has no member `{other}`: only `allow`, `reasons` and `obligations`"
                ));
            }
        }
    }
    decision.allow = allow.ok_or("`allow` is missing")?;
    Ok(decision)
}

fn members<'a>(what: &str, value: &'a Value) -> Result<Vec<(String, &'a Value)>, String> {
    let object = value
        .as_object()
        .map_err(|_| format!("{what} must be an object"))?;
    let named = object.iter_sorted().map(|(key, value)| match key.as_string() {
        Ok(key) => Ok((key.to_string(), value)),
        Err(_) => Err(format!("{what} has a member whose name is not a string")),
    });
    named.collect()
}

fn read_reasons(value: &Value, literals: &BTreeSet<String>) -> Result<Vec<Code>, String> {
    let items: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Set(items) => items.iter_sorted().collect(),
        _ => return Err("`reasons` must be a set or an array of codes".to_owned()),
    };
    if items.len() > MAX_REASONS {
        return Err(format!(
            "`reasons` has {} codes, and at most {MAX_REASONS} are taken",
            items.len()
        ));
    }
    items
        .into_iter()
        .map(|item| read_reason(item, literals))
        .collect()
}

fn read_reason(value: &Value, literals: &BTreeSet<String>) -> Result<Code, String> {
    let text = value
        .as_string()
        .map_err(|_| "each of `reasons` must be a string")?;
    if !literals.contains(text.as_ref()) {
        return Err(
            "each of `reasons` must stand in the policy's text as it is: none may be put together, or come from the input"
                .to_owned(),
        );
    }
    if text.starts_with(RESERVED_PREFIX) {
        return Err(format!(
            "a reason must not begin with `{RESERVED_PREFIX}`: those are the engine's own"
        ));
    }
    text.parse()
        .map_err(|error| format!("the reason `{text}` is no code: {error}"))
}

fn read_obligations(value: &Value) -> Result<Obligations, String> {
    let mut obligations = Obligations::default();
    for (key, value) in members("`obligations`", value)? {
        match key.as_str() {
            "max_tokens" => obligations.max_tokens = Some(read_cap(value)?),
            "step_modes" => obligations.step_modes = read_step_modes(value)?,
            other => {
                return Err(format!(
                    "`obligations` has no member `{other}`: only `max_tokens` and `step_modes`"
                ));
            }
        }
    }
    Ok(obligations)
}

fn read_cap(value: &Value) -> Result<u64, String> {
    let cap = value
        .as_u64()
        .ok()
        .filter(|cap| (1..=MAX_TOKENS_CAP).contains(cap));
    cap.ok_or_else(|| format!("`obligations.max_tokens` must be a whole number from 1 to {MAX_TOKENS_CAP}"))
}

fn read_step_modes(value: &Value) -> Result<BTreeMap<String, StepMode>, String> {
    let modes = members("`obligations.step_modes`", value)?;
    let modes = modes.into_iter().map(|(step, mode)| {
        if !STEERABLE_STEPS.contains(&step.as_str()) {
            return Err(format!(
                "`obligations.step_modes` names `{step}`, which is no step whose mode a policy may set"
            ));
        }
        let mode = mode.as_string().ok().and_then(|mode| read_mode(mode));
        let mode = mode.ok_or_else(|| {
            format!("`obligations.step_modes` must say off, shadow, flag, redact or block for `{step}`")
        })?;
        Ok((step, mode))
    });
    modes.collect()
}

fn read_mode(text: &str) -> Option<StepMode> {
    Some(match text {
        "off" => StepMode::Off,
        "shadow" => StepMode::Shadow,
        "flag" => StepMode::Flag,
        "redact" => StepMode::Redact,
        "block" => StepMode::Block,
        _ => return None,
    })
}
