//! policy.authz: the organisation's and the tenant's active policies decide (`docs/policy-contract.md`). Both must allow;
//! a layer with nothing active denies. Their obligations steer what follows.

use counterfoil_events::policy::PolicyLayer;
use counterfoil_events::text::Code;
use futures::future::{BoxFuture, FutureExt as _};

use crate::gateway::directory::AgentIdentity;
use crate::gateway::pipeline::{Class, Context, Denied, Phase, Run, Step, Verdict};
use crate::gateway::wire::{ApiError, ChatRequest};
use crate::policy::{
    AgentInput, Fault, MessageInput, OrganisationInput, PolicyDecision, PolicyInput, RequestInput,
    TenantInput, TimeInput,
};

/// Names the step.
pub const ID: Code = Code::literal("policy.authz");

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: ID,
        version: 1,
        class: Class::Closed,
        phase: Phase::Request,
        run: Run::Waits(run),
    }
}

fn run(context: &mut Context) -> BoxFuture<'_, Verdict> {
    async move {
        let (identity, request) = match (context.identity(), context.request()) {
            (Ok(identity), Ok(request)) => (identity, request),
            (Err(verdict), _) | (_, Err(verdict)) => return verdict,
        };
        let layers = identity
            .policies
            .iter()
            .map(|policy| policy.source.clone())
            .collect();
        let input = input(context, &identity, &request);
        match context.services.policy.decide(layers, input).await {
            Err(unavailable) => Verdict::Unavailable(unavailable.to_string()),
            Ok(decision) => {
                let verdict = if decision.allow {
                    Verdict::Pass
                } else {
                    denied(&decision)
                };
                context.decision = Some(decision);
                verdict
            }
        }
    }
    .boxed()
}

/// The document that the policies decide upon.
fn input(context: &Context, identity: &AgentIdentity, request: &ChatRequest) -> PolicyInput {
    let texts = |list: &[_]| list.iter().map(ToString::to_string).collect();
    let contents = request.prompt.contents().into_iter();
    let messages = request.prompt.roles.iter().zip(contents);
    let messages = messages
        .map(|(role, content)| MessageInput {
            role: role.as_str().to_owned(),
            content,
        })
        .collect();
    let mut described = RequestInput::new(request.model.to_string(), context.request_bytes, messages);
    described.stream = request.stream;
    described.max_tokens = request.max_tokens.map(|(_, limit)| limit);
    described.tools = request.tools.iter().map(|tool| tool.name.clone()).collect();
    PolicyInput {
        tenant: TenantInput {
            id: identity.tenant.0,
        },
        organisation: OrganisationInput {
            id: identity.organisation.0,
        },
        agent: AgentInput {
            id: identity.agent.0,
            risk_tier: identity.risk_tier,
            tool_scopes: identity.tool_scopes.iter().map(ToString::to_string).collect(),
            models: texts(&identity.models),
        },
        request: described,
        time: TimeInput::at(context.now),
    }
}

fn denied(decision: &PolicyDecision) -> Verdict {
    // Reasons are codes that stand in the policies' own texts, so they may be shown.
    let reasons: Vec<&str> = decision.reasons.iter().map(|reason| reason.as_str()).collect();
    let message = format!(
        "The request was denied by policy: {}.{}",
        reasons.join(", "),
        next_step(decision)
    );
    let codes: Vec<Code> = reasons.iter().filter_map(|reason| reason.parse().ok()).collect();
    Verdict::Deny(Box::new(Denied {
        code: codes.first().cloned().unwrap_or(ID),
        reasons: codes,
        error: ApiError::policy_violation(&ID, message),
        recorded: true,
    }))
}

/// What an operator has to do about a layer with nothing active; nothing, if that is not why.
fn next_step(decision: &PolicyDecision) -> String {
    let missing = |layer: &PolicyLayer| decision.reasons.contains(&Fault::none_active(*layer).reason());
    PolicyLayer::ALL
        .into_iter()
        .filter(missing)
        .map(activate)
        .collect()
}

fn activate(layer: PolicyLayer) -> String {
    let log = match layer {
        PolicyLayer::Organisation => "the organisation's home tenant",
        PolicyLayer::Tenant => "this tenant",
    };
    format!(
        " The {layer} layer has no active policy: publish one for {log} and activate it (counterfoil policies activate {layer} VERSION --tenant ID)."
    )
}
