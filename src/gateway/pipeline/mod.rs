//! The pipeline: steps in one order, each a small function over a context.
//!
//! [`registry`] lists them, [`runner`] runs them. A step reads what earlier ones found, says one [`Verdict`], and
//! never waits, except the few that hand over to another thread or to the log ([`Run::Waits`]). What a verdict does
//! is the runner's business: it depends on the step's mode, which policies set for the steps they may steer, and
//! on the step's class when it cannot say anything. Verdicts carry codes and times, never matched text.

pub mod context;
pub mod registry;
pub mod runner;
pub mod steps;

use counterfoil_events::text::Code;
use futures::future::BoxFuture;

pub use context::Context;
pub use registry::STEPS;

use super::wire::ApiError;

/// What happens when a step cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Fail closed: the call is refused with 503.
    Closed,
    /// Fail open: the call goes on, flagged.
    Open,
    /// The step has a fallback of its own; that it was needed is flagged.
    Local,
}

/// When a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Who calls, and whether at this rate.
    Entry,
    /// What is asked: before the provider is called.
    Request,
    /// Once it is known how the call ended.
    Ending,
}

/// A step's function.
#[derive(Clone, Copy)]
pub enum Run {
    /// Answers at once.
    Pure(fn(&mut Context) -> Verdict),
    /// Waits for another thread or for the log; not for the network beyond it.
    Waits(for<'a> fn(&'a mut Context) -> BoxFuture<'a, Verdict>),
}

/// One step, as registered.
#[derive(Clone)]
pub struct Step {
    /// As in events and policies.
    pub id: Code,
    /// Grows when its verdicts change for the same input.
    pub version: u16,
    /// What happens when it cannot say.
    pub class: Class,
    /// When it runs.
    pub phase: Phase,
    /// What it does.
    pub run: Run,
}

/// What a step says.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing to object.
    Pass,
    /// Something to look at; the call goes on.
    Flag,
    /// The request goes on with these edits.
    Redact(Vec<Edit>),
    /// The call must not go on.
    Deny(Box<Denied>),
    /// It cannot say, and why, for the log.
    Unavailable(String),
}

/// An edit of the body that is forwarded: the value at a path of keys becomes this JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Keys from the top.
    pub path: Vec<&'static str>,
    /// JSON text.
    pub value: String,
}

/// Why a call is denied, for the log and for the caller.
#[derive(Debug, Clone)]
pub struct Denied {
    /// For the log.
    pub code: Code,
    /// For the log: the policies' reasons.
    pub reasons: Vec<Code>,
    /// For the caller.
    pub error: ApiError,
    /// Whether it is worth an event. A refusal that a caller can provoke at any rate is counted only.
    pub recorded: bool,
}

impl Verdict {
    /// A denial that leaves an event.
    #[must_use]
    pub fn deny(code: Code, error: ApiError) -> Self {
        Self::Deny(Box::new(Denied {
            code,
            reasons: Vec::new(),
            error,
            recorded: true,
        }))
    }

    /// What an earlier step should have found is not there: a fault of the order of steps, which fails closed.
    #[must_use]
    pub fn missing(what: &str) -> Self {
        Self::Unavailable(format!("no earlier step has found the {what}"))
    }
}
