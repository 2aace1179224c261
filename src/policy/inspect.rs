//! Holds a parsed policy against the contract before it is accepted, and notes what it contains. What could only
//! fail, or do harm, at a decision is refused here: see `walk` for expressions, `recursion` for rules, `safety` for variables.

mod links;
mod names;
mod recursion;
mod safety;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Module, Rule, RuleHead};

use self::names::{contract, path, place, rule_name, rule_names};
use self::safety::Safety;
use self::walk::Walk;
use super::builtins;
use super::error::{Place, PolicyError};

/// The rule that decides.
pub(super) const ENTRY_POINT: &str = "decision";
/// The one package.
pub(super) const PACKAGE: &str = "counterfoil";
const TEST_PREFIX: &str = "test_";

/// A policy's test: a rule whose name begins with `test_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestRule {
    pub(super) name: String,
    pub(super) at: Place,
}

/// What the walk found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) tests: Vec<TestRule>,
    /// Every string written out in the policy. Reason codes must be among them, so that none is made of content.
    pub(super) literals: BTreeSet<String>,
    /// Where the rule that decides stands.
    pub(super) entry_point: Option<Place>,
}

/// Checks one module against the contract.
pub(super) fn inspect(module: &Module) -> Result<Findings, PolicyError> {
    check_package(module)?;
    check_imports(module)?;
    let mut walk = Walk::new(functions(module)?, rule_names(module));
    let entry_point = check_entry_point(module)?;
    check_defaults(module)?;
    for rule in &module.policy {
        walk.rule(rule)?;
    }
    walk.graph.check()?;
    let safety = Safety::of(module);
    for rule in &module.policy {
        safety.rule(rule)?;
    }
    Ok(Findings {
        tests: tests(module)?,
        literals: walk.literals,
        entry_point: Some(entry_point),
    })
}

fn check_package(module: &Module) -> Result<(), PolicyError> {
    match path(&module.package.refr).as_deref() {
        Some([only]) if only == PACKAGE => Ok(()),
        _ => Err(contract(
            &module.package.span,
            format!("the package must be `package {PACKAGE}`"),
        )),
    }
}

fn check_imports(module: &Module) -> Result<(), PolicyError> {
    for import in &module.imports {
        let root = path(&import.refr).and_then(|parts| parts.into_iter().next());
        if !matches!(root.as_deref(), Some("rego" | "future" | "input")) {
            return Err(contract(
                &import.span,
                "a policy stands alone: it may import rego.v1 and parts of input",
            ));
        }
    }
    Ok(())
}

fn check_entry_point(module: &Module) -> Result<Place, PolicyError> {
    let missing = || PolicyError::Contract {
        at: Place::START,
        reason: format!("there is no rule `{ENTRY_POINT}`; it must be {{\"allow\": …, \"reasons\": …}}"),
    };
    let mut found = None;
    for rule in &module.policy {
        let complete = match rule.as_ref() {
            Rule::Spec {
                head: RuleHead::Compr { refr, .. },
                ..
            } => matches!(refr.as_ref(), Expr::Var { .. }),
            Rule::Default { refr, args, .. } => args.is_empty() && matches!(refr.as_ref(), Expr::Var { .. }),
            Rule::Spec { .. } => false,
        };
        if rule_name(rule).as_deref() != Some(ENTRY_POINT) {
            continue;
        }
        if !complete {
            let reason = format!("`{ENTRY_POINT}` must be one complete rule: decision := {{\"allow\": …}}");
            return Err(contract(rule.span(), reason));
        }
        found = found.or(Some(place(rule.span())));
    }
    found.ok_or_else(missing)
}

/// The engine would take the first of several defaults, silently.
fn check_defaults(module: &Module) -> Result<(), PolicyError> {
    let mut seen = BTreeSet::new();
    for rule in &module.policy {
        if let Rule::Default { refr, .. } = rule.as_ref()
            && !seen.insert(refr.span().text())
        {
            return Err(contract(
                rule.span(),
                format!("{} has two defaults", refr.span().text()),
            ));
        }
    }
    Ok(())
}

fn tests(module: &Module) -> Result<Vec<TestRule>, PolicyError> {
    let mut tests: Vec<TestRule> = Vec::new();
    for rule in &module.policy {
        let Some(name) = rule_name(rule).filter(|name| name.starts_with(TEST_PREFIX)) else {
            continue;
        };
        match rule.as_ref() {
            Rule::Spec {
                head: RuleHead::Compr { refr, .. },
                ..
            } if matches!(refr.as_ref(), Expr::Var { .. }) => {
                if !tests.iter().any(|test| test.name == name) {
                    tests.push(TestRule {
                        name,
                        at: place(rule.span()),
                    });
                }
            }
            _ => {
                return Err(contract(
                    rule.span(),
                    format!("test {name} must be a plain rule: {name} if {{ … }}"),
                ));
            }
        }
    }
    Ok(tests)
}

/// The functions that the policy defines, with their argument counts.
fn functions(module: &Module) -> Result<BTreeMap<String, usize>, PolicyError> {
    let mut functions = BTreeMap::new();
    for rule in &module.policy {
        let (refr, args) = match rule.as_ref() {
            Rule::Spec {
                head: RuleHead::Func { refr, args, .. },
                ..
            } => (refr, args),
            Rule::Default { refr, args, .. } if !args.is_empty() => (refr, args),
            _ => continue,
        };
        let name = path(refr).map(|parts| parts.join("."));
        let name = name.ok_or_else(|| contract(rule.span(), "a function needs a plain name"))?;
        if builtins::arity(&name).is_some() {
            return Err(contract(
                rule.span(),
                format!("`{name}` is a function that policies have; rename this one"),
            ));
        }
        functions.insert(name, args.len());
    }
    Ok(functions)
}
