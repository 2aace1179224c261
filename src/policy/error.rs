//! Why a policy is refused at publish: always with a reason, and with line and column where there is one.

use std::fmt;

/// A position in a policy's text; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Place {
    /// The beginning of the text, for what is missing from all of it.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A policy that is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is too long.
    #[error("the policy has {bytes} bytes; at most {limit} are taken: shorten it")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not Rego.
    #[error("{at}: {reason}")]
    Syntax {
        /// Where.
        at: Place,
        /// What is wrong, in the words of the Rego engine.
        reason: String,
    },
    /// It is Rego, but does not keep the contract of `docs/policy-contract.md`.
    #[error("{at}: {reason}")]
    Contract {
        /// Where.
        at: Place,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// It calls a function that policies do not have.
    #[error("{at}: {name} {reason}")]
    Builtin {
        /// Where.
        at: Place,
        /// The function.
        name: String,
        /// Why not.
        reason: String,
    },
    /// One of its own tests does not hold.
    #[error("{at}: test {name} {outcome}")]
    Test {
        /// Where the test stands.
        at: Place,
        /// The test.
        name: String,
        /// What it came to instead of true.
        outcome: String,
    },
    /// It takes too long to compile; at a decision there would be no time for that.
    #[error("compiling the policy takes longer than {limit_ms} ms: write shorter rules, and nest less")]
    SlowToCompile {
        /// How long it may take.
        limit_ms: u128,
    },
    /// Checking it does not end.
    #[error("checking the policy does not end: a comparison or a test in it takes longer than {limit_s} s")]
    Endless {
        /// How long all its tests may take.
        limit_s: u64,
    },
}

impl PolicyError {
    /// A stable code of its kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "policy_too_large",
            Self::Syntax { .. } => "policy_syntax",
            Self::Contract { .. } => "policy_contract",
            Self::Builtin { .. } => "policy_builtin",
            Self::Test { .. } => "policy_test",
            Self::SlowToCompile { .. } => "policy_slow_to_compile",
            Self::Endless { .. } => "policy_endless",
        }
    }

    /// Where it is, if it is in one place.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::TooLarge { .. } | Self::SlowToCompile { .. } | Self::Endless { .. } => None,
            Self::Syntax { at, .. }
            | Self::Contract { at, .. }
            | Self::Builtin { at, .. }
            | Self::Test { at, .. } => Some(*at),
        }
    }
}

/// Reads place and reason out of an error of the Rego engine, which writes them as
/// `--> file:line:column`, the line itself, a caret, and `error: reason`; causes are nested in the reason.
pub(super) fn locate(error: &anyhow::Error) -> (Option<Place>, String) {
    let text = format!("{error:#}");
    let place = text.split_once("--> ").and_then(|(_, rest)| {
        let mut parts = rest.lines().next()?.rsplitn(3, ':');
        let column = parts.next()?.trim().parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        Some(Place { line, column })
    });
    (place, innermost_reason(&text))
}

fn innermost_reason(text: &str) -> String {
    let reason = text.rsplit_once("error: ").map_or(text, |(_, reason)| reason);
    let first_line = reason
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it cannot be evaluated");
    first_line.trim().to_owned()
}
