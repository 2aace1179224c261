//! Metrics of ended calls: how many, how long, how many tokens, what they cost. Labels come from the configuration and
//! from closed lists, never from a caller.

use std::time::Duration;

use counterfoil_events::text::Code;

use super::ending::Ending;
use super::pipeline::Context;
use super::pipeline::context::Denial;
use super::pipeline::steps::policy_authz;

/// The code of a refusal by a step that could not say.
pub const CHECK_UNAVAILABLE: Code = Code::literal("check_unavailable");

/// Counts a call that a step has refused.
pub fn refused(denial: &Denial) {
    let step = &denial.step;
    // The codes of policies are their tenants' own, and without an end.
    let code = if *step == policy_authz::ID && denial.denied.code != CHECK_UNAVAILABLE {
        step
    } else {
        &denial.denied.code
    };
    let labels = [("step", step.to_string()), ("code", code.to_string())];
    metrics::counter!("counterfoil_gateway_refusals_total", &labels).increment(1);
}

/// Counts a call that has ended.
pub fn ended(context: &Context, recorded: bool) {
    let outcome = match &context.ending {
        _ if !recorded => "unrecorded",
        Some(Ending::Denied(_)) => "denied",
        Some(Ending::Answered(_)) => "settled",
        Some(Ending::Failed(_)) => "failed",
        None => "unknown",
    };
    let model = context
        .model
        .as_ref()
        .map_or_else(|| "none".to_owned(), |model| model.name.to_string());
    let labels = [("outcome", outcome.to_owned()), ("model", model.clone())];
    metrics::counter!("counterfoil_gateway_calls_total", &labels).increment(1);
    metrics::histogram!("counterfoil_gateway_call_seconds", &labels)
        .record(context.started.elapsed().as_secs_f64());
    let provider_ms = match &context.ending {
        Some(Ending::Answered(answered)) => answered.delivered.provider_ms,
        Some(Ending::Failed(failed)) => failed.delivered.provider_ms,
        _ => return,
    };
    let added = context
        .started
        .elapsed()
        .saturating_sub(Duration::from_millis(provider_ms.into()));
    metrics::histogram!("counterfoil_gateway_added_seconds", "outcome" => outcome)
        .record(added.as_secs_f64());
    let Some(bill) = &context.bill else { return };
    for (direction, tokens) in [
        ("input", bill.usage.input_tokens),
        ("output", bill.usage.output_tokens),
    ] {
        let labels = [("direction", direction.to_owned()), ("model", model.clone())];
        metrics::counter!("counterfoil_gateway_tokens_total", &labels).increment(tokens.into());
    }
    let labels = [("currency", bill.cost.currency.to_string()), ("model", model)];
    let cost_micros = u64::try_from(bill.cost.micros.0).unwrap_or(0);
    metrics::counter!("counterfoil_gateway_cost_micros_total", &labels).increment(cost_micros);
}
