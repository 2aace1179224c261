//! The service's policy engine: decides, and checks what is to be published, on threads of its own.
//!
//! For a decision: 1. serialise the input once, digest it; 2. per layer, take the compiled policy from the thread's
//! cache or compile it; 3. evaluate it within the limits; 4. `combine`. Whatever goes wrong with a *policy* is a
//! decision (it denies, with a code); only having no thread to decide on is an error, and the gateway then fails
//! closed. A policy that got a thread stuck is not evaluated again by this process.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use counterfoil_events::document;
use counterfoil_events::ids::DocumentDigest;
use lru::LruCache;
use regorus::Value;
use serde::Deserialize;

use super::combine::combine;
use super::compile::{CompiledPolicy, STACK_BYTES, compile_here};
use super::decision::{Fault, Layer, LayerDecision, PolicyDecision};
use super::error::PolicyError;
use super::evaluate;
use super::input::{InputDigest, PolicyInput};
use super::pool::{Pool, PoolError, PoolLimits, Worker};
use super::self_test::{TEST_TIME_LIMIT, TESTS_TIME_LIMIT, TestReport, run_tests_here};

/// Threads are named after it; panics on them are reported without their text.
const THREAD_PREFIX: &str = "policy-";
/// What compiling may take, and may add to a decision. The largest policies need a tenth of it, on a busy machine.
const COMPILE_LIMIT: Duration = Duration::from_secs(2);
/// Publishing is rare; more than this waiting means something is wrong.
const CHECK_QUEUE_LEN: usize = 16;

/// Sizes and limits of the policy engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEngineConfig {
    /// Threads that decide.
    pub threads: usize,
    /// Decisions that may wait for a thread; more are refused.
    pub queue_len: usize,
    /// How long a decision may wait for a thread, in milliseconds.
    pub queue_wait_ms: u64,
    /// How long one policy may take for one decision, in milliseconds. Policies take well under one; the limit
    /// is generous because meeting it is the one outcome that depends on the machine.
    pub time_limit_ms: u64,
    /// Largest input document, in bytes of JSON.
    pub input_bytes_max: usize,
    /// Compiled policies that each thread keeps.
    pub cached_policies: std::num::NonZeroUsize,
}

impl Default for PolicyEngineConfig {
    fn default() -> Self {
        Self {
            threads: 2,
            queue_len: 1_024,
            queue_wait_ms: 1_000,
            time_limit_ms: 250,
            input_bytes_max: 4 * 1024 * 1024,
            cached_policies: const { std::num::NonZeroUsize::new(256).unwrap() },
        }
    }
}

impl PolicyEngineConfig {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// A text that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        if self.threads == 0 || self.queue_len == 0 || self.time_limit_ms == 0 || self.input_bytes_max == 0 {
            return Err(
                "threads, queue_len, time_limit_ms and input_bytes_max must be at least 1".to_owned(),
            );
        }
        Ok(())
    }

    fn time_limit(&self) -> Duration {
        Duration::from_millis(self.time_limit_ms)
    }

    fn decision_limits(&self) -> PoolLimits {
        PoolLimits {
            name: "policy-decide",
            threads: self.threads,
            queue_len: self.queue_len,
            queue_wait: Duration::from_millis(self.queue_wait_ms),
            // Both layers to their limit, twice over, and both compiled.
            run_limit: (self.time_limit() * 2 + COMPILE_LIMIT) * 2,
            stack_bytes: STACK_BYTES,
        }
    }

    fn check_limits(&self) -> PoolLimits {
        PoolLimits {
            name: "policy-check",
            threads: 1,
            queue_len: CHECK_QUEUE_LEN,
            queue_wait: TESTS_TIME_LIMIT * 2,
            run_limit: TESTS_TIME_LIMIT + TEST_TIME_LIMIT + COMPILE_LIMIT * 2,
            stack_bytes: STACK_BYTES,
        }
    }
}

/// An active policy's text, as the security state holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct PolicySource {
    layer: Layer,
    source: String,
    digest: DocumentDigest,
}

impl PolicySource {
    /// Takes a policy's text.
    #[must_use]
    pub fn new(layer: Layer, source: String) -> Self {
        let digest = document::digest(source.as_bytes());
        Self {
            layer,
            source,
            digest,
        }
    }

    /// Whose policy it is.
    #[must_use]
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// The address of the text as a document.
    #[must_use]
    pub fn digest(&self) -> DocumentDigest {
        self.digest
    }
}

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
    /// Policies that got a thread stuck.
    endless: Mutex<BTreeSet<DocumentDigest>>,
}

struct DecisionJob {
    layers: Vec<Arc<PolicySource>>,
    /// Layers that are not evaluated because they once got a thread stuck.
    endless: Vec<bool>,
    input: Arc<PolicyInput>,
    /// Which layer is being evaluated.
    at_layer: Arc<AtomicUsize>,
}

impl PolicyEngine {
    /// Starts its threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(config: &PolicyEngineConfig) -> std::io::Result<Self> {
        keep_panics_quiet();
        let worker_config = config.clone();
        let make_decider = move || -> Worker<DecisionJob, PolicyDecision> {
            let mut evaluator = Evaluator::new(&worker_config);
            Box::new(move |job| evaluator.decide(&job))
        };
        Ok(Self {
            decisions: Pool::start(config.decision_limits(), make_decider)?,
            checks: Pool::start(config.check_limits(), || {
                Box::new(|source: String| check(&source))
            })?,
            endless: Mutex::new(BTreeSet::new()),
        })
    }

    /// Decides about one completion. `layers` are the active policies, organisation before tenant.
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
        let endless = layers.iter().map(|layer| self.is_endless(layer.digest)).collect();
        let job = DecisionJob {
            layers: layers.clone(),
            endless,
            input: Arc::clone(&input),
            at_layer: Arc::clone(&at_layer),
        };
        match self.decisions.ask(job).await {
            Ok(decision) => Ok(decision),
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

    /// Whether the policy once got a thread stuck, and is no longer evaluated by this process.
    pub(super) fn is_endless(&self, digest: DocumentDigest) -> bool {
        self.endless
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&digest)
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
        self.endless
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(stuck.digest);
        tracing::error!(policy = %stuck.digest, "a policy does not end; it is denied without evaluation from now on");
        let json = input_json(input).ok_or(PolicyUnavailable::Failed)?;
        Ok(combine(
            vec![fault(stuck, Fault::TimeLimit)],
            InputDigest::of(json.as_bytes()),
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
    Ok(CheckedPolicy {
        digest: policy.digest(),
        tests: run_tests_here(&policy)?,
    })
}

fn fault(source: &PolicySource, fault: Fault) -> LayerDecision {
    LayerDecision::fault(source.layer, source.digest, fault, None)
}

/// The input as it is digested and evaluated. Its maps have text keys, so there is nothing that can fail.
fn input_json(input: &PolicyInput) -> Option<String> {
    serde_json::to_string(input).ok()
}

/// What one thread decides with.
struct Evaluator {
    compiled: LruCache<DocumentDigest, Option<CompiledPolicy>>,
    time_limit: Duration,
    input_bytes_max: usize,
}

impl Evaluator {
    fn new(config: &PolicyEngineConfig) -> Self {
        Self {
            compiled: LruCache::new(config.cached_policies),
            time_limit: config.time_limit(),
            input_bytes_max: config.input_bytes_max,
        }
    }

    fn decide(&mut self, job: &DecisionJob) -> PolicyDecision {
        let json = input_json(&job.input).unwrap_or_default();
        let value = self.read_input(&json);
        let mut layers = Vec::with_capacity(job.layers.len());
        for (at, (source, endless)) in job.layers.iter().zip(&job.endless).enumerate() {
            job.at_layer.store(at, Ordering::Relaxed);
            let decision = match &value {
                _ if *endless => fault(source, Fault::TimeLimit),
                Ok(input) => self.decide_layer(source, input.clone()),
                Err(problem) => fault(source, *problem),
            };
            layers.push(decision);
        }
        combine(layers, InputDigest::of(json.as_bytes()))
    }

    fn read_input(&self, json: &str) -> Result<Value, Fault> {
        if json.len() > self.input_bytes_max {
            return Err(Fault::InputTooLarge);
        }
        Value::from_json_str(json).map_err(|_| Fault::Error)
    }

    fn decide_layer(&mut self, source: &PolicySource, input: Value) -> LayerDecision {
        let time_limit = self.time_limit;
        let Some(policy) = self.policy(source) else {
            return fault(source, Fault::Broken);
        };
        let result = catch_unwind(AssertUnwindSafe(|| evaluate::decide(policy, input, time_limit)));
        match result {
            Ok(Ok(answer)) => LayerDecision::answered(source.layer, source.digest, answer),
            Ok(Err(failure)) => {
                metrics::counter!("counterfoil_policy_faults_total", "reason" => failure.fault.code())
                    .increment(1);
                let line = failure.at.map(|at| at.line);
                LayerDecision::fault(source.layer, source.digest, failure.fault, line)
            }
            Err(_) => {
                // Evaluation works on a clone, but what a panic leaves behind is nobody's promise.
                self.compiled.pop(&source.digest);
                fault(source, Fault::Error)
            }
        }
    }

    /// The compiled policy; nothing if the text does not compile, which is remembered too.
    fn policy(&mut self, source: &PolicySource) -> Option<&CompiledPolicy> {
        let compile = || {
            let compiled = catch_unwind(AssertUnwindSafe(|| compile_here(&source.source)));
            let policy = compiled.ok().and_then(Result::ok);
            if policy.is_none() {
                tracing::error!(policy = %source.digest, "an active policy does not compile; it denies everything");
            }
            policy
        };
        self.compiled.get_or_insert(source.digest, compile).as_ref()
    }
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
