//! identity.authenticate: the presented key is one that was issued. In memory; fails closed when what is held is too old.

use counterfoil_events::text::Code;

use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::wire::ApiError;

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("identity.authenticate"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Entry,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    let refused = || Verdict::deny(Code::literal("invalid_api_key"), ApiError::invalid_api_key());
    let Some(key) = &context.incoming.key else {
        return refused();
    };
    match context.services.directory.find(key) {
        Err(stale) => Verdict::Unavailable(stale.to_string()),
        Ok(None) => refused(),
        Ok(Some(identity)) => {
            context.identity = Some(identity);
            Verdict::Pass
        }
    }
}
