//! ingress.schema: the body is a chat completion request of OpenAI's wire (`wire::request`); `param` names the place of
//! what does not fit.

use std::sync::Arc;

use counterfoil_events::text::Code;

use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::wire::ChatRequest;

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("ingress.schema"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Request,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    match ChatRequest::parse(&context.incoming.body) {
        Ok(request) => {
            context.request = Some(Arc::new(request));
            Verdict::Pass
        }
        Err(error) => {
            // Codes of the wire are all in the log's alphabet; should one not be, the event says what step it was.
            let code = error.code.as_deref().and_then(|code| code.parse().ok());
            Verdict::deny(code.unwrap_or(Code::literal("invalid_request")), error)
        }
    }
}
