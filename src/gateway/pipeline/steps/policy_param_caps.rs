//! policy.param_caps: the answer's length stays within the model's and the policies' caps. A request that asks for more,
//! or names no limit where a policy sets one, goes on with the cap; the rewrite is recorded.

use counterfoil_events::text::Code;

use crate::gateway::pipeline::{Class, Context, Edit, Phase, Run, Step, Verdict};

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("policy.param_caps"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Request,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    let (request, model) = match (context.request(), context.model()) {
        (Ok(request), Ok(model)) => (request, model),
        (Err(verdict), _) | (_, Err(verdict)) => return verdict,
    };
    let policy_cap = context
        .decision
        .as_ref()
        .and_then(|decision| decision.obligations.max_tokens);
    let cap = policy_cap.unwrap_or(u64::MAX).min(model.max_output_tokens);
    let (field, asked) = match request.max_tokens {
        Some((field, asked)) => (field, Some(asked)),
        None => (model.provider.max_tokens_field(), None),
    };
    context.max_tokens = Some(asked.unwrap_or(cap).min(cap));
    // Where nobody set a limit the model's own holds, and the body stays as it is.
    let rewrite = asked.map_or(policy_cap.is_some(), |asked| asked > cap);
    if rewrite {
        Verdict::Redact(vec![Edit {
            path: vec![field.name()],
            value: cap.to_string(),
        }])
    } else {
        Verdict::Pass
    }
}
