//! How the layers' decisions become one: a pure function, with two laws that the tests hold it to. A layer more
//! never allows more, and never loosens an obligation.

use std::collections::BTreeSet;

use counterfoil_events::ids::PolicyInputDigest;
use counterfoil_events::text::Code;

use super::decision::{Fault, LayerDecision, Obligations, PolicyDecision};

/// All layers must allow; none at all denies. Reasons follow each other in the order of the layers, each once; of
/// obligations the strictest counts.
#[must_use]
pub fn combine(layers: Vec<LayerDecision>, input_digest: PolicyInputDigest) -> PolicyDecision {
    let allow = !layers.is_empty() && layers.iter().all(|layer| layer.allow);
    let reasons = if layers.is_empty() {
        vec![Fault::NoneActive.reason()]
    } else {
        each_once(layers.iter().flat_map(|layer| &layer.reasons))
    };
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

fn each_once<'a>(reasons: impl Iterator<Item = &'a Code>) -> Vec<Code> {
    let mut seen = BTreeSet::new();
    reasons.filter(|reason| seen.insert(*reason)).cloned().collect()
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
    use counterfoil_events::policy::{PolicyLayer, PolicyRef};
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

    fn input() -> PolicyInputDigest {
        PolicyInputDigest::of(b"{}")
    }

    #[test]
    fn nothing_active_denies_and_says_so() {
        let decision = combine(vec![], input());
        assert!(!decision.allow);
        assert_eq!(decision.reasons, [Fault::NoneActive.reason()]);
    }

    proptest! {
        #[test]
        fn it_allows_exactly_when_there_are_layers_and_all_allow(layers in prop::collection::vec(layer(), 0..5)) {
            let expected = !layers.is_empty() && !layers.iter().any(|l| !l.allow);
            prop_assert_eq!(combine(layers, input()).allow, expected);
        }

        #[test]
        fn one_denial_wins_wherever_it_stands(
            mut layers in prop::collection::vec(layer(), 1..5), at in any::<prop::sample::Index>(),
        ) {
            let at = at.index(layers.len());
            layers[at].allow = false;
            prop_assert!(!combine(layers, input()).allow);
        }

        #[test]
        fn a_layer_more_never_allows_more_nor_loosens_an_obligation(
            layers in prop::collection::vec(layer(), 1..4), extra in layer(),
        ) {
            let before = combine(layers.clone(), input());
            let mut more = layers;
            more.push(extra);
            let after = combine(more, input());
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
            let mut expected: Vec<Code> = Vec::new();
            for reason in layers.iter().flat_map(|l| l.reasons.clone()) {
                if !expected.contains(&reason) {
                    expected.push(reason);
                }
            }
            prop_assert_eq!(combine(layers, input()).reasons, expected);
        }

        #[test]
        fn what_is_demanded_does_not_depend_on_the_order_of_the_layers(
            layers in prop::collection::vec(layer(), 1..5),
        ) {
            let forwards = combine(layers.clone(), input());
            let backwards = combine(layers.into_iter().rev().collect(), input());
            prop_assert_eq!(forwards.allow, backwards.allow);
            prop_assert_eq!(forwards.obligations, backwards.obligations);
        }
    }
}
