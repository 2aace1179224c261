//! A key risk indicator: what is measured, in which unit, with which bands, how often.
//!
//! It stands in its tenant's log (aggregate id: the [`KriId`](super::KriId)). A change holds for measurements after
//! it; what was measured before keeps the colour and freshness that it was recorded with.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::{KriCommand, KriDefinition};
pub use error::KriError;
pub use event::KriEvent;

use crate::aggregate::event_sourced;

/// A KRI's state; none before it is defined.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Kri {
    /// What is known of it.
    pub details: Option<KriDetails>,
}

/// What is known of a KRI.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KriDetails {
    /// What it is.
    pub definition: KriDefinition,
    /// Whether it is measured no more.
    pub retired: bool,
}

event_sourced!(
    Kri,
    "kri",
    KriCommand,
    KriError,
    KriEvent {
        KriDefined,
        KriChanged,
        KriRetired,
    }
);

impl Kri {
    /// What it is, if it is measured.
    #[must_use]
    pub fn in_use(&self) -> Option<&KriDefinition> {
        let details = self.details.as_ref().filter(|details| !details.retired)?;
        Some(&details.definition)
    }

    fn decide(&self, command: KriCommand) -> Result<KriEvent, KriError> {
        use {KriCommand as C, KriError as Refused};

        match (&self.details, command) {
            (None, C::Define(definition)) => Ok(definition.defined()),
            (None, _) => Err(Refused::NotFound),
            (Some(_), C::Define(_)) => Err(Refused::AlreadyExists),
            (Some(now), _) if now.retired => Err(Refused::Retired),
            (Some(now), C::Change(definition)) if now.definition == definition => Err(Refused::Unchanged),
            (Some(_), C::Change(definition)) => Ok(definition.changed()),
            (Some(_), C::Retire { reason }) => Ok(KriEvent::KriRetired { reason }),
        }
    }

    fn fold(&mut self, event: KriEvent) {
        match event {
            KriEvent::KriDefined {
                name,
                unit,
                bands,
                schedule,
            }
            | KriEvent::KriChanged {
                name,
                unit,
                bands,
                schedule,
            } => {
                let definition = KriDefinition {
                    name,
                    unit,
                    bands,
                    schedule,
                };
                self.details = Some(KriDetails {
                    definition,
                    retired: false,
                });
            }
            KriEvent::KriRetired { .. } => {
                if let Some(details) = &mut self.details {
                    details.retired = true;
                }
            }
        }
    }
}
