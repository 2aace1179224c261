//! What one policy thread does for a decision: 1. serialise the input once and digest it; 2. per layer, take the
//! compiled policy from the cache, or compile it; 3. evaluate it within the limits; 4. `combine`.
//!
//! It always comes to a decision. Whatever goes wrong with a policy denies, with a code of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use counterfoil_events::document;
use counterfoil_events::ids::PolicyInputDigest;
use counterfoil_events::policy::{PolicyLayer, PolicyRef};
use regorus::Value;

use super::cache::PolicyCache;
use super::combine::{combine, none_active};
use super::decision::{Fault, LayerDecision, PolicyDecision};
use super::evaluate;
use super::input::PolicyInput;
use super::settings::time_limit;
use crate::config::PolicyConfig;

/// An active policy. The text is shared with whoever holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct PolicySource {
    policy: PolicyRef,
    source: Arc<str>,
}

impl PolicySource {
    /// Takes a version's text, and digests it.
    #[must_use]
    pub fn new(layer: PolicyLayer, version: u32, source: impl Into<Arc<str>>) -> Self {
        let source = source.into();
        let digest = document::digest(source.as_bytes());
        Self::stored(
            PolicyRef {
                layer,
                version,
                digest,
            },
            source,
        )
    }

    /// Takes a version as the log keeps it: the digest is the address that the text was read by.
    #[must_use]
    pub fn stored(policy: PolicyRef, source: Arc<str>) -> Self {
        Self { policy, source }
    }

    /// Whose policy it is, which version, and the digest of its text.
    #[must_use]
    pub fn policy(&self) -> PolicyRef {
        self.policy
    }
}

/// One decision to make.
pub(super) struct DecisionJob {
    pub(super) layers: Vec<Arc<PolicySource>>,
    /// Layers that are denied without evaluation.
    pub(super) barred: Vec<bool>,
    pub(super) input: Arc<PolicyInput>,
    /// Which layer is being evaluated.
    pub(super) at_layer: Arc<AtomicUsize>,
}

impl DecisionJob {
    fn none_active(&self) -> Vec<PolicyLayer> {
        none_active(self.layers.iter().map(|source| source.policy.layer))
    }
}

/// A denial by one layer because there is no usable answer.
pub(super) fn fault(source: &PolicySource, fault: Fault) -> LayerDecision {
    LayerDecision::fault(source.policy, fault, None)
}

/// The input as it is digested and evaluated. Its maps have text keys, so there is nothing that can fail.
pub(super) fn input_json(input: &PolicyInput) -> Option<String> {
    serde_json::to_string(input).ok()
}

/// What one thread decides with.
pub(super) struct Decider {
    cache: PolicyCache,
    time_limit: Duration,
    input_bytes_max: usize,
}

impl Decider {
    pub(super) fn new(config: &PolicyConfig, cache: PolicyCache) -> Self {
        Self {
            cache,
            time_limit: time_limit(config),
            input_bytes_max: config.input_bytes_max,
        }
    }

    pub(super) fn decide(&self, job: &DecisionJob) -> PolicyDecision {
        let json = input_json(&job.input).unwrap_or_default();
        let value = self.read_input(&json);
        let mut layers = Vec::with_capacity(job.layers.len());
        for (at, (source, barred)) in job.layers.iter().zip(&job.barred).enumerate() {
            job.at_layer.store(at, Ordering::Relaxed);
            let decision = match &value {
                _ if *barred => fault(source, Fault::TimeLimit),
                Ok(input) => self.decide_layer(source, input.clone()),
                Err(problem) => fault(source, *problem),
            };
            layers.push(decision);
        }
        combine(layers, &job.none_active(), PolicyInputDigest::of(json.as_bytes()))
    }

    fn read_input(&self, json: &str) -> Result<Value, Fault> {
        if json.len() > self.input_bytes_max {
            return Err(Fault::InputTooLarge);
        }
        Value::from_json_str(json).map_err(|_| Fault::Error)
    }

    fn decide_layer(&self, source: &PolicySource, input: Value) -> LayerDecision {
        let time_limit = self.time_limit;
        let Some(policy) = self.cache.get(source.policy.digest, &source.source) else {
            return fault(source, Fault::Broken);
        };
        let result = catch_unwind(AssertUnwindSafe(|| evaluate::decide(&policy, input, time_limit)));
        match result {
            Ok(Ok(answer)) => LayerDecision::answered(source.policy, answer),
            Ok(Err(failure)) => {
                metrics::counter!("counterfoil_policy_faults_total", "reason" => failure.fault.reason().to_string())
                    .increment(1);
                let line = failure.at.map(|at| at.line);
                LayerDecision::fault(source.policy, failure.fault, line)
            }
            Err(_) => {
                // Evaluation works on a clone, but what a panic leaves behind is nobody's promise.
                self.cache.forget(source.policy.digest);
                fault(source, Fault::Error)
            }
        }
    }
}
