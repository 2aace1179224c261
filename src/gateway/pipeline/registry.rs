//! The one list of steps, in the one order in which they run. A new step is a file under `steps/` and a line here.
//!
//! Identity and the request rate stand first: nobody without a key has us read a body, and nobody with one buys more
//! work or events than its rate, whatever the body holds.

use std::sync::LazyLock;

use super::{Phase, Step, steps};

/// All steps.
pub static STEPS: LazyLock<Vec<Step>> = LazyLock::new(|| {
    vec![
        steps::identity_authenticate::step(),
        steps::identity_tenant_bind::step(),
        steps::identity_key_state::step(),
        steps::budget_rpm::step(),
        // A repeat of a call that was authorised ends here, as that call stands: it is not decided anew.
        steps::ingress_schema::step(),
        steps::policy_authz::step(),
        steps::policy_model_allow::step(),
        steps::policy_tools_declared::step(),
        steps::policy_param_caps::step(),
        steps::budget_spend_reserve::step(),
        // Last before the call, so that a key is asked for only for calls that are allowed.
        steps::routing_vault_key::step(),
        // The provider is called here, once the authorisation is durable.
        steps::accounting_settle::step(),
        steps::audit_append::step(),
    ]
});

/// The steps of one phase, in order.
pub fn of_phase(phase: Phase) -> impl Iterator<Item = &'static Step> {
    STEPS.iter().filter(move |step| step.phase == phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_the_phases_follow_each_other() {
        let ids: std::collections::BTreeSet<&str> = STEPS.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids.len(), STEPS.len());
        let first_ending = STEPS.iter().position(|step| step.phase == Phase::Ending);
        let later = STEPS.iter().skip(first_ending.unwrap_or(0));
        assert!(later.into_iter().all(|step| step.phase == Phase::Ending));
    }

    #[test]
    fn there_is_room_for_every_verdict_in_an_event() {
        assert!(STEPS.len() <= counterfoil_events::completion::MAX_VERDICTS);
    }
}
