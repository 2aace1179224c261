//! Runs the steps of a phase: measures, applies the mode, records the verdict, stops at a denial.
//!
//! Modes are a policy's to set for the steps that it may steer (`crate::policy::STEERABLE_STEPS`); a steered step
//! blocks unless a policy says otherwise. All others have no mode: their edits are applied and their denials deny.

use std::ops::ControlFlow;
use std::time::Instant;

use counterfoil_events::completion::{StepVerdict, Verdict as Recorded};
use counterfoil_events::text::Code;

use super::context::{Context, Denial};
use super::registry::of_phase;
use super::{Class, Denied, Phase, Run, Step, Verdict};
use crate::gateway::wire::ApiError;
use crate::policy::{STEERABLE_STEPS, StepMode};

/// Why a phase stopped.
#[derive(Debug, Clone)]
pub enum Stopped {
    /// A step denied.
    Denied(Denial),
    /// A step of class C could not say.
    Unavailable {
        /// Which step.
        step: Code,
        /// For the caller.
        error: ApiError,
        /// For the log.
        cause: String,
    },
}

/// Runs the steps of a phase, up to the first that stops it.
///
/// # Errors
/// See [`Stopped`].
pub async fn run_phase(context: &mut Context, phase: Phase) -> Result<(), Stopped> {
    for step in of_phase(phase) {
        let mode = mode_of(context, step);
        if mode == Some(StepMode::Off) {
            continue;
        }
        let started = Instant::now();
        let verdict = match step.run {
            Run::Pure(run) => run(context),
            Run::Waits(run) => run(context).await,
        };
        record(context, step, &verdict, started);
        if let ControlFlow::Break(stopped) = apply(context, step, mode, verdict) {
            return Err(stopped);
        }
    }
    Ok(())
}

/// A steered step's mode; `None` for a step that cannot be steered.
fn mode_of(context: &Context, step: &Step) -> Option<StepMode> {
    if !STEERABLE_STEPS.contains(&step.id.as_str()) {
        return None;
    }
    let modes = context
        .decision
        .as_ref()
        .map(|decision| &decision.obligations.step_modes);
    Some(
        modes
            .and_then(|modes| modes.get(step.id.as_str()).copied())
            .unwrap_or(StepMode::Block),
    )
}

fn apply(
    context: &mut Context,
    step: &Step,
    mode: Option<StepMode>,
    verdict: Verdict,
) -> ControlFlow<Stopped> {
    use StepMode::{Block, Flag, Off, Redact, Shadow};
    match (verdict, mode) {
        (Verdict::Pass, _) | (_, Some(Off | Shadow)) => {}
        (Verdict::Flag, _) | (Verdict::Redact(_) | Verdict::Deny(_), Some(Flag)) => context.flagged = true,
        (Verdict::Redact(edits), None | Some(Redact)) => {
            context.flagged = true;
            context.edits.extend(edits);
        }
        (Verdict::Redact(_), Some(Block)) => return ControlFlow::Break(violation(step)),
        (Verdict::Deny(denied), None | Some(Redact | Block)) => {
            return ControlFlow::Break(Stopped::Denied(Denial {
                step: step.id.clone(),
                denied: *denied,
            }));
        }
        (Verdict::Unavailable(cause), _) => match step.class {
            Class::Closed => return ControlFlow::Break(unavailable(step, &cause)),
            Class::Open | Class::Local => context.flagged = true,
        },
    }
    ControlFlow::Continue(())
}

/// What was found may not pass, and the step offers edits only.
fn violation(step: &Step) -> Stopped {
    let denied = Denied {
        code: step.id.clone(),
        reasons: Vec::new(),
        error: ApiError::policy_violation(&step.id, "The request was denied by policy."),
        recorded: true,
    };
    Stopped::Denied(Denial {
        step: step.id.clone(),
        denied,
    })
}

fn unavailable(step: &Step, cause: &str) -> Stopped {
    let message = format!(
        "The request cannot be checked at the moment ({}); nothing was done. Try again.",
        step.id
    );
    Stopped::Unavailable {
        step: step.id.clone(),
        error: ApiError::unavailable("check_unavailable", message),
        cause: format!("{}: {cause}", step.id),
    }
}

fn record(context: &mut Context, step: &Step, verdict: &Verdict, started: Instant) {
    let took = started.elapsed();
    metrics::histogram!("counterfoil_gateway_step_seconds", "step" => step.id.to_string())
        .record(took.as_secs_f64());
    let recorded = match verdict {
        Verdict::Pass => Recorded::Pass,
        Verdict::Flag => Recorded::Flag,
        Verdict::Redact(_) => Recorded::Redact,
        Verdict::Deny(_) => Recorded::Deny,
        Verdict::Unavailable(_) => Recorded::Unavailable,
    };
    context.verdicts.push(StepVerdict {
        step: step.id.clone(),
        version: step.version,
        verdict: recorded,
        micros: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
    });
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
