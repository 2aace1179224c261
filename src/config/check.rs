//! Gathers every value that is outside its limits, so that one start shows all of them.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

/// A key and what is wrong with its value. Never the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Such as `http.max_connections`.
    pub key: String,
    /// The rule it breaks.
    pub rule: String,
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.rule)
    }
}

#[derive(Default)]
pub(super) struct Checks(Vec<Violation>);

impl Checks {
    /// The value must lie in the range.
    pub fn within<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            self.refuse(key, format!("is {value}; it must lie between {low} and {high}"));
        }
    }

    /// The rule must hold.
    pub fn require(&mut self, key: &str, holds: bool, rule: &str) {
        if !holds {
            self.refuse(key, rule.to_owned());
        }
    }

    fn refuse(&mut self, key: &str, rule: String) {
        self.0.push(Violation {
            key: key.to_owned(),
            rule,
        });
    }

    pub fn violations(self) -> Vec<Violation> {
        self.0
    }
}
