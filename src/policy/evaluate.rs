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
    /// In the engine's words. It may quote the input: for the author of a test, never for an event or a log.
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
        value => read_decision(&value, &policy.literals).ok_or_else(|| Fault::MalformedDecision.into()),
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

/// Reads the answer, strictly: exact types, no unknown keys, reasons that stand in the policy's own text.
fn read_decision(value: &Value, literals: &BTreeSet<String>) -> Option<RegoDecision> {
    let mut allow = None;
    let mut decision = RegoDecision {
        allow: false,
        reasons: Vec::new(),
        obligations: Obligations::default(),
    };
    for (key, value) in value.as_object().ok()?.iter_sorted() {
        match key.as_string().ok()?.as_ref() {
            "allow" => allow = Some(*value.as_bool().ok()?),
            "reasons" => decision.reasons = read_reasons(value, literals)?,
            "obligations" => decision.obligations = read_obligations(value)?,
            _ => return None,
        }
    }
    decision.allow = allow?;
    Some(decision)
}

fn read_reasons(value: &Value, literals: &BTreeSet<String>) -> Option<Vec<Code>> {
    let items: Vec<&Value> = match value {
        Value::Array(items) if items.len() <= MAX_REASONS => items.iter().collect(),
        Value::Set(items) if items.len() <= MAX_REASONS => items.iter_sorted().collect(),
        _ => return None,
    };
    items
        .into_iter()
        .map(|item| read_reason(item, literals))
        .collect()
}

fn read_reason(value: &Value, literals: &BTreeSet<String>) -> Option<Code> {
    let text = value.as_string().ok()?;
    if !literals.contains(text.as_ref()) || text.starts_with(RESERVED_PREFIX) {
        return None;
    }
    text.parse().ok()
}

fn read_obligations(value: &Value) -> Option<Obligations> {
    let mut obligations = Obligations::default();
    for (key, value) in value.as_object().ok()?.iter_sorted() {
        match key.as_string().ok()?.as_ref() {
            "max_tokens" => obligations.max_tokens = Some(read_cap(value)?),
            "step_modes" => obligations.step_modes = read_step_modes(value)?,
            _ => return None,
        }
    }
    Some(obligations)
}

fn read_cap(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .ok()
        .filter(|cap| (1..=MAX_TOKENS_CAP).contains(cap))
}

fn read_step_modes(value: &Value) -> Option<BTreeMap<String, StepMode>> {
    let modes = value.as_object().ok()?.iter_sorted().map(|(step, mode)| {
        let step = step.as_string().ok()?;
        let mode = read_mode(mode.as_string().ok()?)?;
        STEERABLE_STEPS
            .contains(&step.as_ref())
            .then(|| (step.to_string(), mode))
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
