//! Which rule leads to which, and that none leads back to itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::error::{Place, PolicyError};

/// The rules of a policy, with what each of them names.
#[derive(Default)]
pub(super) struct RuleGraph {
    rules: BTreeMap<String, (Place, BTreeSet<String>)>,
}

impl RuleGraph {
    /// Adds what one body of a rule names.
    pub(super) fn add(&mut self, rule: String, at: Place, named: BTreeSet<String>) {
        self.rules
            .entry(rule)
            .or_insert_with(|| (at, BTreeSet::new()))
            .1
            .extend(named);
    }

    /// A function that calls itself would exhaust the stack: the engine has no bound of its own for that.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let mut finished = BTreeSet::new();
        for name in self.rules.keys() {
            self.visit(name, &mut finished)?;
        }
        Ok(())
    }

    /// Depth first from one rule, with the path on a stack of its own: rules can be thousands.
    fn visit<'a>(&'a self, from: &'a str, finished: &mut BTreeSet<&'a str>) -> Result<(), PolicyError> {
        let next_of = |name: &str| {
            self.rules
                .get(name)
                .map(|(_, next)| next.iter())
                .unwrap_or_default()
        };
        if finished.contains(from) {
            return Ok(());
        }
        let mut open = vec![(from, next_of(from))];
        let mut on_path = BTreeSet::from([from]);
        while let Some((name, next)) = open.last_mut() {
            match next.next() {
                None => {
                    on_path.remove(*name);
                    finished.insert(*name);
                    open.pop();
                }
                Some(next) if on_path.contains(next.as_str()) => return Err(self.recursion(next)),
                Some(next) if finished.contains(next.as_str()) => {}
                Some(next) => {
                    on_path.insert(next);
                    open.push((next, next_of(next)));
                }
            }
        }
        Ok(())
    }

    fn recursion(&self, name: &str) -> PolicyError {
        let at = self.rules.get(name).map_or(Place::START, |(at, _)| *at);
        PolicyError::Contract {
            at,
            reason: format!("`{name}` leads back to itself; rules may not be recursive"),
        }
    }
}
