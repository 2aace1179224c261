//! Exit codes, as a type: scripts branch on them.

use std::process::{ExitCode, Termination};

use serde_json::{Value, json};

use crate::signing::KeyFileError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and nothing to report.
    Good,
    /// Done, and it found something: a broken chain, a difference, a component that is down.
    Finding,
    /// Not begun: arguments, configuration or input are not right.
    Usage,
    /// Not done: something it needs does not answer.
    Unavailable,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Finding => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// Why a command did not do its work: the exit code, and one text for the person who called it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// `Usage` or `Unavailable`.
    pub exit: Exit,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// The problem document (RFC 9457) that the API answered with, where it is the API that refused.
    pub problem: Option<Value>,
}

impl CliError {
    /// The caller has to change something.
    #[must_use]
    pub fn usage(message: impl ToString) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.to_string(),
            problem: None,
        }
    }

    /// The signing key cannot be had: the KMS may answer later, or somebody has to put something in its place.
    #[must_use]
    pub fn of_key(error: KeyFileError) -> Self {
        match error.is_unavailable() {
            true => Self::unavailable(error),
            false => Self::usage(error),
        }
    }

    /// Something the command needs does not answer.
    #[must_use]
    pub fn unavailable(message: impl ToString) -> Self {
        Self {
            exit: Exit::Unavailable,
            message: message.to_string(),
            problem: None,
        }
    }

    /// With what the API said.
    #[must_use]
    pub fn with_problem(self, problem: Value) -> Self {
        Self {
            problem: Some(problem),
            ..self
        }
    }

    /// One JSON object for machines: the text for people, the exit code, and the API's problem document or null.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({"error": self.message, "exit": self.exit.code(), "problem": self.problem})
    }
}

/// What a command returns.
pub type Outcome = Result<Exit, CliError>;
