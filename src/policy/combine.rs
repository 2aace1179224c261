//! How the layers' decisions become one: a pure function. It fails closed: it allows only what an active policy of
//! *each* layer allows. Two laws that the tests hold it to: a decision more never allows more, once each layer has one,
//! and none ever loosens an obligation.

use std::collections::BTreeSet;

use counterfoil_events::ids::PolicyInputDigest;
use counterfoil_events::policy::PolicyLayer;
use counterfoil_events::text::Code;

use super::decision::{Fault, LayerDecision, Obligations, PolicyDecision};

/// Every layer must have decided, and all that decided must allow. `none_active` are the layers with nothing active:
/// their reasons come first, since nothing at all passes while they stand so; then the deciding layers' reasons in
/// their order, each once. Of obligations the strictest counts.
#[must_use]
pub fn combine(
    layers: Vec<LayerDecision>,
    none_active: &[PolicyLayer],
    input_digest: PolicyInputDigest,
) -> PolicyDecision {
    let decided = |layer| layers.iter().any(|decision| decision.policy.layer == layer);
    let allow = PolicyLayer::ALL.into_iter().all(decided) && layers.iter().all(|layer| layer.allow);
    let missing = none_active
        .iter()
        .map(|layer| Fault::none_active(*layer).reason());
    let given = layers.iter().flat_map(|layer| layer.reasons.iter().cloned());
    let reasons = each_once(missing.chain(given));
    let obligations = layers.iter().fold(Obligations::default(), |strictest, layer| {
        stricter(strictest, &layer.obligations)
    });
    PolicyDecision {
        allow,
        reasons,
        obligations,
        layers,
        input_digest,
    }
}

/// The layers that none of these policies belongs to.
pub(super) fn none_active(policies: impl Iterator<Item = PolicyLayer>) -> Vec<PolicyLayer> {
    let active: BTreeSet<PolicyLayer> = policies.collect();
    let mut layers = PolicyLayer::ALL.to_vec();
    layers.retain(|layer| !active.contains(layer));
    layers
}

fn each_once(reasons: impl Iterator<Item = Code>) -> Vec<Code> {
    let mut seen = BTreeSet::new();
    reasons.filter(|reason| seen.insert(reason.clone())).collect()
}

/// The lower cap, and per step the stricter mode.
fn stricter(mut left: Obligations, right: &Obligations) -> Obligations {
    left.max_tokens = match (left.max_tokens, right.max_tokens) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    };
    for (step, mode) in &right.step_modes {
        let strictest = left.step_modes.entry(step.clone()).or_insert(*mode);
        *strictest = (*strictest).max(*mode);
    }
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use counterfoil_events::ids::DocumentDigest;
    use counterfoil_events::policy::PolicyRef;
    use proptest::prelude::*;

    use super::super::decision::{STEERABLE_STEPS, StepMode};
    use super::*;

    fn mode() -> impl Strategy<Value = StepMode> {
        prop::sample::select(vec![
            StepMode::Off,
            StepMode::Shadow,
            StepMode::Flag,
            StepMode::Redact,
            StepMode::Block,
        ])
    }

    prop_compose! {
        fn obligations()(
            max_tokens in prop::option::of(1_u64..100),
            step_modes in prop::collection::btree_map(
                prop::sample::select(STEERABLE_STEPS[..4].to_vec()).prop_map(str::to_owned), mode(), 0..4),
        ) -> Obligations {
            Obligations { max_tokens, step_modes }
        }
    }

    prop_compose! {
        fn layer()(
            layer in prop::sample::select(vec![PolicyLayer::Organisation, PolicyLayer::Tenant]),
            allow in any::<bool>(),
            reasons in prop::collection::vec("[a-c]{1,2}", 0..4),
            obligations in obligations(),
        ) -> LayerDecision {
            let reasons = reasons.into_iter().map(|r| r.parse().unwrap()).collect();
            LayerDecision {
                policy: PolicyRef { layer, version: 1, digest: DocumentDigest([7; 32]) }, allow, reasons, obligations, fault_line: None,
            }
        }
    }

    fn digest() -> PolicyInputDigest {
        PolicyInputDigest::of(b"{}")
    }

    fn combined(layers: Vec<LayerDecision>) -> PolicyDecision {
        let none_active = none_active(layers.iter().map(|decision| decision.policy.layer));
        combine(layers, &none_active, digest())
    }

    fn has(layers: &[LayerDecision], layer: PolicyLayer) -> bool {
        layers.iter().any(|decision| decision.policy.layer == layer)
    }

    #[test]
    fn nothing_active_denies_and_says_in_which_layers() {
        let decision = combined(vec![]);
        assert!(!decision.allow);
        let reasons: Vec<&str> = decision.reasons.iter().map(Code::as_str).collect();
        assert_eq!(
            reasons,
            ["policy.organisation_none_active", "policy.tenant_none_active"]
        );
    }

    proptest! {
        #[test]
        fn it_allows_exactly_when_each_layer_has_decided_and_all_allow(
            layers in prop::collection::vec(layer(), 0..5),
        ) {
            let both = has(&layers, PolicyLayer::Organisation) && has(&layers, PolicyLayer::Tenant);
            let expected = both && layers.iter().all(|l| l.allow);
            prop_assert_eq!(combined(layers).allow, expected);
        }

        #[test]
        fn a_layer_with_nothing_active_denies_whoever_forgets_to_name_it(
            mut layers in prop::collection::vec(layer(), 0..5), missing in prop::sample::select(PolicyLayer::ALL.to_vec()),
        ) {
            layers.retain(|decision| decision.policy.layer != missing);
            let unnamed = combine(layers.clone(), &[], digest());
            prop_assert!(!unnamed.allow);
            prop_assert!(combined(layers).reasons.contains(&Fault::none_active(missing).reason()));
        }

        #[test]
        fn one_denial_wins_wherever_it_stands(
            mut layers in prop::collection::vec(layer(), 1..5), at in any::<prop::sample::Index>(),
        ) {
            let at = at.index(layers.len());
            layers[at].allow = false;
            prop_assert!(!combined(layers).allow);
        }

        #[test]
        fn a_decision_more_never_allows_more_nor_loosens_an_obligation(
            layers in prop::collection::vec(layer(), 1..4), extra in layer(),
        ) {
            prop_assume!(PolicyLayer::ALL.into_iter().all(|layer| has(&layers, layer)));
            let before = combined(layers.clone());
            let mut more = layers;
            more.push(extra);
            let after = combined(more);
            prop_assert!(before.allow || !after.allow);
            if let Some(cap) = before.obligations.max_tokens {
                prop_assert!(after.obligations.max_tokens.unwrap() <= cap);
            }
            for (step, mode) in &before.obligations.step_modes {
                prop_assert!(after.obligations.step_modes[step] >= *mode);
            }
        }

        #[test]
        fn reasons_keep_the_order_of_the_layers_each_once(layers in prop::collection::vec(layer(), 1..5)) {
            let decided = layers.iter().map(|decision| decision.policy.layer);
            let mut expected: Vec<Code> =
                none_active(decided).into_iter().map(|layer| Fault::none_active(layer).reason()).collect();
            for reason in layers.iter().flat_map(|l| l.reasons.clone()) {
                if !expected.contains(&reason) {
                    expected.push(reason);
                }
            }
            prop_assert_eq!(combined(layers).reasons, expected);
        }

        #[test]
        fn what_is_demanded_does_not_depend_on_the_order_of_the_layers(
            layers in prop::collection::vec(layer(), 1..5),
        ) {
            let forwards = combined(layers.clone());
            let backwards = combined(layers.into_iter().rev().collect());
            prop_assert_eq!(forwards.allow, backwards.allow);
            prop_assert_eq!(forwards.obligations, backwards.obligations);
        }
    }
}
