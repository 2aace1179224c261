//! policy.model_allow: the model is on offer and on the agent's spec card. One answer for both refusals: nobody learns
//! which models others have.

use std::sync::Arc;

use counterfoil_events::text::Code;

use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::wire::ApiError;

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("policy.model_allow"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Request,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    let (identity, request) = match (context.identity(), context.request()) {
        (Ok(identity), Ok(request)) => (identity, request),
        (Err(verdict), _) | (_, Err(verdict)) => return verdict,
    };
    let model = context.services.catalogue.find(&request.model).map(Arc::clone);
    match model.filter(|_| identity.models.contains(&request.model)) {
        Some(model) => {
            context.model = Some(model);
            Verdict::Pass
        }
        None => Verdict::deny(Code::literal("model_not_found"), ApiError::model_not_found()),
    }
}
