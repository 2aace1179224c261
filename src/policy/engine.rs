//! The service's policy engine: decides, and checks what is to be published, on threads of its own.
//!
//! Whatever goes wrong with a *policy* is a decision (it denies, with a code); only having no thread to decide on is
//! an error, and the gateway then fails closed. A policy that costs its neighbours too much is denied without
//! evaluation for a while (`probation`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Instant;

use counterfoil_events::ids::{DocumentDigest, PolicyInputDigest};

use super::cache::PolicyCache;
use super::combine::{combine, none_active};
use super::compile::compile_here;
use super::decider::{Decider, DecisionJob, PolicySource, fault, input_json};
use super::decision::{Fault, PolicyDecision};
use super::error::PolicyError;
use super::input::PolicyInput;
use super::pool::{Pool, PoolError, Worker};
use super::probation::Probation;
use super::self_test::{TESTS_TIME_LIMIT, TestReport, run_tests_here, try_out};
use super::settings::{COMPILE_LIMIT, check_limits, decision_limits};
use crate::config::PolicyConfig;

/// Threads are named after it; panics on them are reported without their text.
const THREAD_PREFIX: &str = "policy-";
/// Nothing was decided, for reasons of our own: fail closed, and the caller may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyUnavailable {
    /// No thread came free.
    #[error("all policy threads are busy and the queue is full or too slow: try again shortly")]
    Busy,
    /// The evaluator failed outside of a policy.
    #[error("the policy evaluator failed: try again, and report it if it stays")]
    Failed,
    /// The service is stopping.
    #[error("the policy engine is stopping")]
    Stopping,
}

/// Why a policy was not checked to the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The policy is at fault.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// We are.
    #[error(transparent)]
    Unavailable(#[from] PolicyUnavailable),
}

/// A policy that may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedPolicy {
    /// The address of its text as a document.
    pub digest: DocumentDigest,
    /// Its tests, all of which hold.
    pub tests: TestReport,
}

/// Decides about completions and checks policies. Dropping it ends its threads.
pub struct PolicyEngine {
    decisions: Pool<DecisionJob, PolicyDecision>,
    checks: Pool<String, Result<CheckedPolicy, PolicyError>>,
    probation: Mutex<Probation>,
}

impl PolicyEngine {
    /// Starts its threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(config: &PolicyConfig) -> std::io::Result<Self> {
        keep_panics_quiet();
        let worker_config = config.clone();
        let cache = PolicyCache::new(config.cached_policies);
        let make_decider = move || -> Worker<DecisionJob, PolicyDecision> {
            let decider = Decider::new(&worker_config, cache.clone());
            Box::new(move |job| decider.decide(&job))
        };
        Ok(Self {
            decisions: Pool::start(decision_limits(config), make_decider)?,
            checks: Pool::start(check_limits(), || Box::new(|source: String| check(&source)))?,
            probation: Mutex::default(),
        })
    }

    /// Decides about one completion. `layers` are the active policies, organisation before tenant; a
    /// layer that is missing has nothing active, and denies.
    ///
    /// # Errors
    /// When there is no thread to decide on; a policy that fails is not an error but a denial.
    pub async fn decide(
        &self,
        layers: Vec<Arc<PolicySource>>,
        input: PolicyInput,
    ) -> Result<PolicyDecision, PolicyUnavailable> {
        let input = Arc::new(input);
        let at_layer = Arc::new(AtomicUsize::new(0));
        let barred: Vec<bool> = layers
            .iter()
            .map(|layer| self.bars(layer.policy().digest))
            .collect();
        let job = DecisionJob {
            layers: layers.clone(),
            barred: barred.clone(),
            input: Arc::clone(&input),
            at_layer: Arc::clone(&at_layer),
        };
        match self.decisions.ask(job).await {
            Ok(decision) => {
                self.note(&decision, &barred);
                Ok(decision)
            }
            Err(PoolError::Endless) => self.give_up(&layers, at_layer.load(Ordering::Relaxed), &input),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Compiles a policy and runs its tests, as publishing requires.
    ///
    /// # Errors
    /// [`CheckError::Policy`] with line and reason, when it may not be published.
    pub async fn check(&self, source: String) -> Result<CheckedPolicy, CheckError> {
        match self.checks.ask(source).await {
            Ok(checked) => Ok(checked?),
            Err(PoolError::Endless) => Err(PolicyError::Endless {
                limit_s: TESTS_TIME_LIMIT.as_secs(),
            }
            .into()),
            Err(error) => Err(unavailable(error).into()),
        }
    }

    /// Whether the policy is denied without evaluation at present.
    pub(super) fn bars(&self, digest: DocumentDigest) -> bool {
        self.probation().bars(digest, Instant::now())
    }

    fn note(&self, decision: &PolicyDecision, barred: &[bool]) {
        let mut probation = self.probation();
        for (layer, barred) in decision.layers.iter().zip(barred) {
            if !barred {
                let timed_out = layer.reasons.first() == Some(&Fault::TimeLimit.reason());
                probation.note(layer.policy.digest, timed_out, Instant::now());
            }
        }
    }

    fn probation(&self) -> MutexGuard<'_, Probation> {
        // Its state is whole after every call, even one that panics.
        self.probation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(
        &self,
        layers: &[Arc<PolicySource>],
        at_layer: usize,
        input: &PolicyInput,
    ) -> Result<PolicyDecision, PolicyUnavailable> {
        let Some(stuck) = layers.get(at_layer) else {
            return Err(PolicyUnavailable::Failed);
        };
        self.probation().note_endless(stuck.policy().digest);
        tracing::error!(policy = %stuck.policy().digest, "a policy does not end; it is denied without evaluation from now on");
        let json = input_json(input).ok_or(PolicyUnavailable::Failed)?;
        Ok(combine(
            vec![fault(stuck, Fault::TimeLimit)],
            &none_active(layers.iter().map(|layer| layer.policy().layer)),
            PolicyInputDigest::of(json.as_bytes()),
        ))
    }
}

fn unavailable(error: PoolError) -> PolicyUnavailable {
    match error {
        PoolError::Busy => PolicyUnavailable::Busy,
        PoolError::Closed => PolicyUnavailable::Stopping,
        PoolError::Panicked | PoolError::Endless => PolicyUnavailable::Failed,
    }
}

fn check(source: &str) -> Result<CheckedPolicy, PolicyError> {
    let started = Instant::now();
    let policy = compile_here(source)?;
    if started.elapsed() > COMPILE_LIMIT {
        return Err(PolicyError::SlowToCompile {
            limit_ms: COMPILE_LIMIT.as_millis(),
        });
    }
    let tests = run_tests_here(&policy)?;
    try_out(&policy)?;
    Ok(CheckedPolicy {
        digest: policy.digest(),
        tests,
    })
}

/// A panic's text may quote what a prompt says. On policy threads only its place is reported.
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.starts_with(THREAD_PREFIX)) {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                tracing::error!(%place, "the Rego engine panicked");
            } else {
                report(panic);
            }
        }));
    });
}
