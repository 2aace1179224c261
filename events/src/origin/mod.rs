//! The proof of origin and its break-glass switch.
//!
//! One aggregate in the platform's log (aggregate id: [`AGGREGATE_ID`]). While it is open, requests are answered without
//! the proof that they have passed the edge: for when the edge is down and people have to get by. Opening says for how
//! long, [`MAX_OPEN`] at the most, and why; it ends by itself at that time, with no further event, or by command before.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::OriginCommand;
pub use error::OriginError;
pub use event::OriginEvent;

use crate::aggregate::event_sourced;
use crate::text::Code;
use crate::timestamp::Timestamp;

/// The one switch's id.
pub const AGGREGATE_ID: &str = "origin";
/// Longest it is open by one command: an hour is enough to look at an edge again, and short enough that nobody forgets.
pub const MAX_OPEN: Duration = Duration::from_secs(60 * 60);

/// The switch's state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Until when it was last opened; none before the first time, and after it was closed by command.
    pub open_until: Option<Timestamp>,
}

event_sourced!(
    Origin,
    "origin",
    OriginCommand,
    OriginError,
    OriginEvent {
        OriginProofSuspended,
        OriginProofRestored,
    }
);

impl Origin {
    fn decide(&self, command: OriginCommand) -> Result<OriginEvent, OriginError> {
        match command {
            OriginCommand::Open { length, reason, now } => Self::open(length, reason, now),
            OriginCommand::Close { reason, now } if self.is_open_at(now) => {
                Ok(OriginEvent::OriginProofRestored { reason })
            }
            OriginCommand::Close { .. } => Err(OriginError::NotOpen),
        }
    }

    /// One that is open is opened again: until another time, for another reason.
    fn open(length: Duration, reason: Code, now: Timestamp) -> Result<OriginEvent, OriginError> {
        if length.is_zero() || length > MAX_OPEN {
            return Err(OriginError::TooLong);
        }
        let until = now.checked_add(length).ok_or(OriginError::ClockAtItsEnd)?;
        Ok(OriginEvent::OriginProofSuspended { until, reason })
    }

    /// Whether no proof is asked for at this moment.
    #[must_use]
    pub fn is_open_at(&self, now: Timestamp) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    fn fold(&mut self, event: OriginEvent) {
        self.open_until = match event {
            OriginEvent::OriginProofSuspended { until, .. } => Some(until),
            OriginEvent::OriginProofRestored { .. } => None,
        };
    }
}
