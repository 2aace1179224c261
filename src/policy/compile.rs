//! From Rego text to a policy that can be evaluated, or to the reason why not.
//!
//! 1. Cap the size, and the work of parsing (`nesting`).
//! 2. Parse.
//! 3. Hold the syntax tree against the contract (`inspect`).
//! 4. Let the engine analyse it (unsafe variables, conflicting rules).
//!
//! Parsing recurses over whatever it is given, so `compile` runs on a
//! thread with a deep stack; what it accepts is shallow enough to be evaluated and dropped anywhere.

use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use counterfoil_events::document;
use counterfoil_events::ids::DocumentDigest;
use regorus::{Engine, PolicyLengthConfig};

use super::bounds;
use super::error::{Place, PolicyError, locate};
use super::inspect::{ENTRY_POINT, Findings, PACKAGE, TestRule, inspect};
use super::nesting::check_nesting;

/// Longest policy text: an order of magnitude above what people write by hand.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;
/// Longest line; also bounds what one error message quotes.
const MAX_COLUMNS: NonZeroU32 = NonZeroU32::new(1_024).unwrap();
/// Five times what the longest chain of rules in 64 KiB needs, unoptimised. Only touched pages are ever backed.
pub(super) const STACK_BYTES: usize = 128 * 1024 * 1024;
const FILE: &str = "policy.rego";

/// A policy that compiled. Cheap to clone: the syntax tree is shared.
#[derive(Clone)]
pub struct CompiledPolicy {
    /// Never evaluated itself: each evaluation gets a clone, so nothing stays from one to the next.
    pub(super) engine: Engine,
    pub(super) literals: Arc<BTreeSet<String>>,
    pub(super) tests: Arc<[TestRule]>,
    /// Where the rule that decides stands.
    pub(super) entry_point: Place,
    digest: DocumentDigest,
}

impl fmt::Debug for CompiledPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledPolicy")
            .field("digest", &self.digest)
            .field("tests", &self.tests)
            .finish_non_exhaustive()
    }
}

impl CompiledPolicy {
    /// The address of its text as a document.
    #[must_use]
    pub fn digest(&self) -> DocumentDigest {
        self.digest
    }

    /// How many tests it has.
    #[must_use]
    pub fn test_count(&self) -> usize {
        self.tests.len()
    }
}

/// Compiles a policy's text.
///
/// Blocks for some milliseconds; inside the service use [`super::PolicyEngine::check`].
///
/// # Errors
/// [`PolicyError`] with line, column and reason.
pub fn compile(source: &str) -> Result<CompiledPolicy, PolicyError> {
    on_deep_stack(|| compile_here(source))
}

/// Compiles on this thread, which must have a stack of [`STACK_BYTES`].
pub(super) fn compile_here(source: &str) -> Result<CompiledPolicy, PolicyError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(PolicyError::TooLarge {
            bytes: source.len(),
            limit: MAX_SOURCE_BYTES,
        });
    }
    check_lines(source)?;
    check_nesting(source)?;
    let mut engine = new_engine().map_err(|error| syntax(&error))?;
    engine
        .add_policy(FILE.to_owned(), source.to_owned())
        .map_err(|error| syntax(&error))?;
    let findings = match engine.get_modules().first() {
        Some(module) => inspect(module)?,
        None => Findings::default(),
    };
    analyse(&mut engine)?;
    Ok(CompiledPolicy {
        engine,
        literals: Arc::new(findings.literals),
        tests: findings.tests.into(),
        entry_point: findings.entry_point.unwrap_or(Place::START),
        digest: document::digest(source.as_bytes()),
    })
}

/// The engine has the same limit, and does not count comments.
fn check_lines(source: &str) -> Result<(), PolicyError> {
    let limit = MAX_COLUMNS.get();
    for (line, text) in (1..).zip(source.lines()) {
        if text.chars().nth(limit as usize).is_some() {
            return Err(PolicyError::Contract {
                at: Place { line, column: limit },
                reason: format!("the line goes on after {limit} characters, which is the most: break it"),
            });
        }
    }
    Ok(())
}

fn new_engine() -> anyhow::Result<Engine> {
    let mut engine = Engine::new();
    engine.set_rego_v0(false);
    // An error denies; it never becomes an undefined value that `not` would turn into consent.
    engine.set_strict_builtin_errors(true);
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: MAX_COLUMNS,
        max_file_bytes: NonZeroUsize::new(MAX_SOURCE_BYTES).unwrap_or(NonZeroUsize::MIN),
        max_lines: NonZeroUsize::new(MAX_SOURCE_BYTES).unwrap_or(NonZeroUsize::MIN),
    });
    bounds::install(&mut engine)?;
    Ok(engine)
}

fn analyse(engine: &mut Engine) -> Result<(), PolicyError> {
    let entry_point: Arc<str> = rule_path(ENTRY_POINT).into();
    engine
        .compile_with_entrypoint(&entry_point)
        .map(|_| ())
        .map_err(|error| syntax(&error))
}

/// The engine's name of one of the policy's rules.
pub(super) fn rule_path(rule: &str) -> String {
    format!("data.{PACKAGE}.{rule}")
}

fn syntax(error: &anyhow::Error) -> PolicyError {
    let (place, reason) = locate(error);
    PolicyError::Syntax {
        at: place.unwrap_or(Place::START),
        reason,
    }
}

/// Runs `work` on a thread of its own with a deep stack, and waits for it.
pub(super) fn on_deep_stack<T: Send>(
    work: impl FnOnce() -> Result<T, PolicyError> + Send,
) -> Result<T, PolicyError> {
    let failed = |reason: &str| PolicyError::Syntax {
        at: Place::START,
        reason: reason.to_owned(),
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("policy-compile".to_owned())
            .stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, work) {
            Ok(running) => running
                .join()
                .unwrap_or_else(|_| Err(failed("the Rego engine failed on this text"))),
            Err(_) => Err(failed("no thread could be started to compile it; try again")),
        }
    })
}
