//! One run of a source: a measuring, from the request to the value or the reason why there is none.
//!
//! It stands in its tenant's log (aggregate id: the [`KriRunId`](crate::ids::KriRunId)). Runners compete for it by
//! appending `KriRunStarted` at the expected sequence; who gets it in holds it for a lease. When the lease is over
//! another runner may start the next attempt. At most one attempt completes: the newest one. The third lost lease
//! ends the run. So the outside effect, a GET, happens at least once, and its value is recorded at most once.
//!
//! ```text
//! Requested ── Started 1 ─┬─ Completed
//!                 │       └─ Failed
//!                 └ lease over ── Started 2 ── … 3 ── lease over ── Failed (lease_expired)
//! ```

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::{KriRunCommand, MAX_LEASE_MS, Measured};
pub use error::KriRunError;
pub use event::KriRunEvent;

use super::KriId;
use crate::aggregate::event_sourced;
use crate::ids::KriSourceId;
use crate::text::Code;
use crate::timestamp::Timestamp;

/// How often a run is started. A runner that loses three leases in a row would lose the fourth.
pub const MAX_ATTEMPTS: u32 = 3;

/// The code of a run whose last lease was lost.
pub const LEASE_EXPIRED: Code = Code::literal("lease_expired");

/// A run's state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KriRun {
    /// Nothing has happened.
    #[default]
    None,
    /// Requested, and not ended.
    Open(OpenRun),
    /// Measured, for good.
    Completed,
    /// Not measured, for good.
    Failed,
}

/// A run that has not ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRun {
    /// The KRI that is measured.
    pub kri: KriId,
    /// From which source.
    pub source: KriSourceId,
    /// As of when, where the request said so.
    pub measured_at: Option<Timestamp>,
    /// The newest attempt; 0 before the first.
    pub attempt: u32,
    /// Until when the newest attempt's runner holds it.
    pub lease_until: Option<Timestamp>,
}

event_sourced!(
    KriRun,
    "kri_run",
    KriRunCommand,
    KriRunError,
    KriRunEvent {
        KriRunRequested,
        KriRunStarted,
        KriRunCompleted,
        KriRunFailed,
    }
);

impl KriRun {
    fn decide(&self, command: KriRunCommand) -> Result<KriRunEvent, KriRunError> {
        use KriRunCommand as C;

        match (self, command) {
            (
                Self::None,
                C::Request {
                    kri,
                    source,
                    measured_at,
                    now,
                },
            ) => {
                if measured_at.is_some_and(|at| at > now) {
                    return Err(KriRunError::MeasuredInTheFuture);
                }
                Ok(KriRunEvent::KriRunRequested {
                    kri,
                    source,
                    measured_at,
                })
            }
            (Self::None, _) => Err(KriRunError::NotFound),
            (_, C::Request { .. }) => Err(KriRunError::AlreadyExists),
            (Self::Completed | Self::Failed, _) => Err(KriRunError::AlreadyEnded),
            (
                Self::Open(run),
                C::Start {
                    runner,
                    lease_ms,
                    now,
                },
            ) => run.start(runner, lease_ms, now),
            (Self::Open(run), C::Complete(measured)) => run.complete(*measured),
            (Self::Open(run), C::Fail { attempt, code }) => run.fail(attempt, code),
        }
    }

    fn fold(&mut self, event: KriRunEvent) {
        use KriRunEvent as E;

        match (event, &mut *self) {
            (
                E::KriRunRequested {
                    kri,
                    source,
                    measured_at,
                },
                state,
            ) => {
                *state = Self::Open(OpenRun {
                    kri,
                    source,
                    measured_at,
                    attempt: 0,
                    lease_until: None,
                });
            }
            (
                E::KriRunStarted {
                    attempt, lease_until, ..
                },
                Self::Open(run),
            ) => {
                run.attempt = attempt;
                run.lease_until = Some(lease_until);
            }
            // Only an open run is started.
            (E::KriRunStarted { .. }, _) => {}
            (E::KriRunCompleted { .. }, state) => *state = Self::Completed,
            (E::KriRunFailed { .. }, state) => *state = Self::Failed,
        }
    }
}

impl OpenRun {
    fn start(&self, runner: Code, lease_ms: u32, now: Timestamp) -> Result<KriRunEvent, KriRunError> {
        if let Some(until) = self.lease_until.filter(|until| *until > now) {
            return Err(KriRunError::LeaseHeld { until });
        }
        if self.attempt >= MAX_ATTEMPTS {
            return self.fail(self.attempt, LEASE_EXPIRED);
        }
        if lease_ms == 0 || lease_ms > MAX_LEASE_MS {
            return Err(KriRunError::LeaseOutOfRange { lease_ms });
        }
        let lease_until = now.as_datetime() + chrono::TimeDelta::milliseconds(i64::from(lease_ms));
        Ok(KriRunEvent::KriRunStarted {
            runner,
            attempt: self.attempt + 1,
            lease_until: lease_until.into(),
        })
    }

    /// A runner whose lease is over may still complete, as long as nobody has started the next attempt.
    fn complete(&self, measured: Measured) -> Result<KriRunEvent, KriRunError> {
        self.check_attempt(measured.attempt)?;
        let measured_at = self.measured_at.unwrap_or(measured.measured_at);
        Ok(KriRunEvent::KriRunCompleted {
            kri: self.kri.clone(),
            source: self.source,
            attempt: measured.attempt,
            value: measured.value,
            status: measured.bands.band(measured.value),
            bands: measured.bands,
            measured_at,
            fresh_until: measured.schedule.fresh_until(measured_at),
            payload_digest: measured.payload_digest,
            payload_bytes: measured.payload_bytes,
            positions: measured.positions,
        })
    }

    fn fail(&self, attempt: u32, code: Code) -> Result<KriRunEvent, KriRunError> {
        self.check_attempt(attempt)?;
        Ok(KriRunEvent::KriRunFailed {
            kri: self.kri.clone(),
            source: self.source,
            attempt,
            code,
        })
    }

    fn check_attempt(&self, attempt: u32) -> Result<(), KriRunError> {
        match (attempt == self.attempt, self.attempt) {
            (_, 0) => Err(KriRunError::NotStarted),
            (true, _) => Ok(()),
            (false, newest) => Err(KriRunError::Superseded { attempt, newest }),
        }
    }
}
