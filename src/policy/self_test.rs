//! A policy's own tests, run at publish: rules named `test_…` in the policy's text, each of which must be true.
//!
//! A policy without tests may be published; the count is part of the answer, so that this can be seen. Whether or not it
//! has any, it is tried out on an ordinary request: what it decides there must have the shape of a decision.

use std::time::{Duration, Instant};

use regorus::Value;

use super::compile::{CompiledPolicy, on_deep_stack};
use super::decision::Fault;
use super::error::PolicyError;
use super::evaluate::{Failure, decide, rule_value};
use super::inspect::{ENTRY_POINT, TestRule};

/// What one test may take: it may decide several times.
pub const TEST_TIME_LIMIT: Duration = Duration::from_secs(1);
/// What all tests of a policy may take together.
pub const TESTS_TIME_LIMIT: Duration = Duration::from_secs(5);

/// An ordinary request, the example of `docs/policy-contract.md`.
const ORDINARY: &str = include_str!("ordinary_request.json");

/// Tests that all hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// How many there are; 0 if the policy has none.
    pub passed: usize,
}

/// Runs the policy's own tests.
///
/// Blocks up to [`TESTS_TIME_LIMIT`]; inside the service use [`super::PolicyEngine::check`].
///
/// # Errors
/// [`PolicyError::Test`], for the first test in the text that is not true.
pub fn run_tests(policy: &CompiledPolicy) -> Result<TestReport, PolicyError> {
    on_deep_stack(|| run_tests_here(policy))
}

/// Runs the tests on this thread, which must have a deep stack.
pub(super) fn run_tests_here(policy: &CompiledPolicy) -> Result<TestReport, PolicyError> {
    let started = Instant::now();
    for test in policy.tests.iter() {
        if started.elapsed() > TESTS_TIME_LIMIT {
            let limit_s = TESTS_TIME_LIMIT.as_secs();
            return Err(failed(
                test,
                format!("was not reached: all tests together may take {limit_s} s"),
            ));
        }
        run_test(policy, test)?;
    }
    Ok(TestReport {
        passed: policy.tests.len(),
    })
}

/// Refuses a policy that decides about an ordinary request what nobody can read: it would deny everything, and its author
/// would learn of it from his agents. That it denies, or has no answer to this request, is its own affair.
pub(super) fn try_out(policy: &CompiledPolicy) -> Result<(), PolicyError> {
    let unreadable = |reason: String| PolicyError::Contract {
        at: policy.entry_point,
        reason,
    };
    let input = Value::from_json_str(ORDINARY).map_err(|error| unreadable(error.to_string()))?;
    match decide(policy, input, TEST_TIME_LIMIT) {
        Err(failure) if failure.fault == Fault::MalformedDecision => Err(unreadable(format!(
            "`{ENTRY_POINT}` about an ordinary request is no decision (docs/policy-contract.md): {}",
            failure.reason
        ))),
        // At a decision there is less time than here.
        Err(failure) if matches!(failure.fault, Fault::TimeLimit | Fault::MemoryLimit) => {
            Err(unreadable(format!(
                "`{ENTRY_POINT}` about an ordinary request {}: it would deny every request",
                describe(&failure)
            )))
        }
        _ => Ok(()),
    }
}

fn run_test(policy: &CompiledPolicy, test: &TestRule) -> Result<(), PolicyError> {
    match rule_value(policy, &test.name, None, TEST_TIME_LIMIT) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(Value::Undefined) => Err(failed(test, "does not hold (it is undefined)".to_owned())),
        Ok(Value::Bool(false)) => Err(failed(test, "is false".to_owned())),
        Ok(_) => Err(failed(
            test,
            "must come to true, and comes to another value".to_owned(),
        )),
        Err(failure) => Err(failed(test, describe(&failure))),
    }
}

fn describe(failure: &Failure) -> String {
    let at = failure.at.map(|at| format!(" at {at}")).unwrap_or_default();
    let limit_ms = TEST_TIME_LIMIT.as_millis();
    match failure.fault {
        Fault::TimeLimit => format!("took longer than {limit_ms} ms{at}"),
        Fault::MemoryLimit => format!("built more than a policy may{at}: {}", failure.reason),
        _ => format!("ended in an error{at}: {}", failure.reason),
    }
}

fn failed(test: &TestRule, outcome: String) -> PolicyError {
    PolicyError::Test {
        at: test.at,
        name: test.name.clone(),
        outcome,
    }
}
