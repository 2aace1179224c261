//! identity.tenant_bind: the call belongs to its key's tenant. A caller who names a tenant (`counterfoil-tenant`) must
//! name this one; every refusal has the shape of a wrong key, so that answers do not tell which tenants exist.

use counterfoil_events::ids::TenantId;
use counterfoil_events::text::Code;

use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};
use crate::gateway::wire::ApiError;

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: Code::literal("identity.tenant_bind"),
        version: 1,
        class: Class::Closed,
        phase: Phase::Entry,
        run: Run::Pure(run),
    }
}

fn run(context: &mut Context) -> Verdict {
    let identity = match context.identity() {
        Ok(identity) => identity,
        Err(verdict) => return verdict,
    };
    let tenant = identity.tenant;
    let claimed = context
        .incoming
        .claimed_tenant
        .as_deref()
        .map(str::parse::<TenantId>);
    // The events go to the log that the request was bound to at the door: the key may not have changed hands since.
    let agrees =
        claimed.is_none_or(|claimed| claimed == Ok(tenant)) && context.incoming.command.tenant == tenant;
    if !agrees {
        return Verdict::deny(Code::literal("tenant_mismatch"), ApiError::invalid_api_key());
    }
    context.bound = true;
    Verdict::Pass
}
