//! identity.key_state: nothing speaks against the key: not revoked, not expired, and neither its agent, its tenant nor
//! its organisation is suspended. A refusal is bound to the tenant, so it leaves an event.

use counterfoil_events::text::Code;
use counterfoil_events::timestamp::Timestamp;
use hyper::StatusCode;

use crate::gateway::directory::Standing;
use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::wire::{ApiError, Retry};

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("identity.key_state"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Entry,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    match context.identity() {
        Err(verdict) => verdict,
        Ok(identity) => match objection(&identity.standing, context.now) {
            None => Verdict::Pass,
            Some((code, error)) => Verdict::deny(code, error),
        },
    }
}

/// What speaks against a key at a moment, if anything does.
#[must_use]
pub fn objection(standing: &Standing, now: Timestamp) -> Option<(Code, ApiError)> {
    // A key that does not work any more looks like one that never did.
    if standing.key_revoked {
        return Some((Code::literal("key_revoked"), ApiError::invalid_api_key()));
    }
    if standing.key_expires_at.is_some_and(|end| end <= now) {
        return Some((Code::literal("key_expired"), ApiError::invalid_api_key()));
    }
    let (code, who) = match standing {
        Standing {
            organisation_suspended: true,
            ..
        } => (Code::literal("organisation_suspended"), "organisation"),
        Standing {
            tenant_suspended: true,
            ..
        } => (Code::literal("tenant_suspended"), "tenant"),
        Standing {
            agent_suspended: true,
            ..
        } => (Code::literal("agent_suspended"), "agent"),
        _ => return None,
    };
    let message = format!("The {who} of this key is suspended. Ask whoever supervises it to resume it.");
    let error = ApiError::new(StatusCode::FORBIDDEN, "permission_error", message)
        .with_code(code.to_string())
        .with_retry(Retry::Never);
    Some((code, error))
}
