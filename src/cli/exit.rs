//! Exit codes: 0 good, 1 a finding, 2 wrong usage, 3 something that is needed is unavailable.

use std::process::{ExitCode, Termination};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Good,
    /// Done, and something was found that should not be.
    Finding,
    /// The arguments make no sense.
    Usage,
    /// Something that the command stands on is not there.
    Unavailable,
}

impl Exit {
    /// Says on standard error what is not there.
    pub fn unavailable(reason: &dyn std::fmt::Display) -> Self {
        eprintln!("counterfoil: {reason}");
        Self::Unavailable
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Good => 0,
            Self::Finding => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
        })
    }
}
