//! policy.tools_declared: each tool that the request offers is within the scopes on the agent's spec card, whatever the
//! policies say of it.
//!
//! A scope permits the tool of its name: its separators (`.` `:` `/`), which a tool's name cannot have, stand for `_`, and
//! `*` for anything. So `crm.contacts:read` permits `crm_contacts_read`, and `crm.contacts:*` every tool of that beginning.

use counterfoil_events::text::{Code, ToolScope};

use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::wire::ApiError;

const ID: Code = Code::literal("policy.tools_declared");

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: ID,
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
    let outside = |name: &str| !identity.tool_scopes.iter().any(|scope| permits(scope, name));
    let found = request.tools.iter().position(|tool| outside(&tool.name));
    let Some(index) = found else {
        return Verdict::Pass;
    };
    let message = format!(
        "Tool {} of the request is not within the scopes on the agent's spec card. Offer it no more, or have the card \
         changed.",
        index + 1
    );
    let error = ApiError::policy_violation(&ID, message).with_param("tools");
    Verdict::deny(Code::literal("tool_outside_scopes"), error)
}

/// Whether a tool of this name is within a scope.
fn permits(scope: &ToolScope, tool: &str) -> bool {
    let pattern = scope.as_str().replace(['.', ':', '/'], "_");
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| tool.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    // Without a star the beginning is all of it.
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_scope_permits_the_tool_of_its_name_and_a_star_anything() {
        let permits = |scope: &str, tool| permits(&scope.parse().unwrap(), tool);
        for (scope, tool) in [
            ("claims:read", "claims_read"),
            ("crm.contacts:read", "crm_contacts_read"),
            ("crm.contacts:*", "crm_contacts_read"),
            ("*", "anything"),
            ("*:read", "crm_contacts_read"),
            ("crm*:re*d", "crm_contacts_read"),
            ("a*a", "aa"),
        ] {
            assert!(permits(scope, tool), "{scope} {tool}");
        }
        for (scope, tool) in [
            ("claims:read", "claims_write"),
            ("claims:read", "claims_read_all"),
            ("claims:read", "my_claims_read"),
            ("crm.contacts:*", "crm_accounts_read"),
            ("*:read", "crm_contacts_write"),
            ("a*a", "a"),
            ("claims:read", "Claims_read"),
        ] {
            assert!(!permits(scope, tool), "{scope} {tool}");
        }
    }
}
