//! Policies: Rego that decides which completions may go ahead (the gateway's step `policy.authz`).
//!
//! `docs/policy-contract.md` is the contract for authors. Text becomes a [`CompiledPolicy`] (`compile`, held
//! against the contract by `inspect`), which must pass its own tests (`self_test`) to be published. To decide,
//! [`PolicyEngine`] evaluates the active texts, organisation before tenant, on threads of its own (`engine`,
//! `pool`, `decider`, `evaluate`), and [`combine`] makes one decision of them: each layer must have an active policy that allows, and
//! whatever goes wrong denies with a stable reason. The same texts and input give the same decision, byte for
//! byte: no network, clock, chance or process is within a policy's reach (`builtins`).

mod bounds;
mod builtins;
mod cache;
mod combine;
mod compile;
mod decider;
mod decision;
mod engine;
mod error;
mod evaluate;
mod input;
mod inspect;
mod nesting;
mod pool;
mod probation;
mod schema;
mod self_test;
mod settings;

#[cfg(test)]
mod tests;

pub use combine::combine;
pub use compile::{CompiledPolicy, MAX_SOURCE_BYTES, compile};
pub use decider::PolicySource;
pub use decision::{
    Fault, LayerDecision, Obligations, PolicyDecision, RegoDecision, STEERABLE_STEPS, StepMode,
};
pub use engine::{CheckError, CheckedPolicy, PolicyEngine, PolicyUnavailable};
pub use error::{Place, PolicyError};
pub use input::{
    AgentInput, MessageInput, OrganisationInput, PolicyInput, RequestInput, TenantInput, TimeInput, Weekday,
};
pub use schema::{decision_schema, input_schema};
pub use self_test::{TestReport, run_tests};
