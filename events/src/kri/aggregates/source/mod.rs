//! A source of a KRI's values: a CSV table, an HTTP endpoint, or the platform's own log.
//!
//! It stands in its tenant's log (aggregate id: the [`KriSourceId`](crate::ids::KriSourceId)). Its configuration is
//! in the event; a CSV text given with it is a document. Whether the KRI exists, and whether the configuration can be
//! reached, is checked before it gets here.

mod command;
mod error;
mod event;
mod stored;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::KriSourceCommand;
pub use error::KriSourceError;
pub use event::KriSourceEvent;
pub use stored::StoredConfig;

use super::KriId;
use crate::aggregate::event_sourced;

/// A source's state; none before it is configured.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct KriSource {
    /// What is known of it.
    pub details: Option<KriSourceDetails>,
}

/// What is known of a source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KriSourceDetails {
    /// The KRI that it measures.
    pub kri: KriId,
    /// How.
    pub config: StoredConfig,
    /// Whether it may not be run.
    pub disabled: bool,
}

event_sourced!(
    KriSource,
    "kri_source",
    KriSourceCommand,
    KriSourceError,
    KriSourceEvent {
        KriSourceConfigured = event::CONFIGURED,
        KriSourceChanged = event::CHANGED,
        KriSourceDisabled,
        KriSourceEnabled,
    }
);

impl KriSource {
    fn decide(&self, command: KriSourceCommand) -> Result<KriSourceEvent, KriSourceError> {
        use {KriSourceCommand as C, KriSourceError as Refused, KriSourceEvent as E};

        match (&self.details, command) {
            (None, C::Configure { kri, config }) => Ok(E::KriSourceConfigured {
                kri,
                config: config.try_into()?,
            }),
            (None, _) => Err(Refused::NotFound),
            (Some(_), C::Configure { .. }) => Err(Refused::AlreadyExists),
            (Some(now), C::Change { config }) if *now.config.config() == config => Err(Refused::Unchanged),
            (Some(_), C::Change { config }) => Ok(E::KriSourceChanged {
                config: config.try_into()?,
            }),
            (Some(now), C::Disable { .. }) if now.disabled => Err(Refused::AlreadyDisabled),
            (Some(_), C::Disable { reason }) => Ok(E::KriSourceDisabled { reason }),
            (Some(now), C::Enable) if !now.disabled => Err(Refused::NotDisabled),
            (Some(_), C::Enable) => Ok(E::KriSourceEnabled {}),
        }
    }

    fn fold(&mut self, event: KriSourceEvent) {
        use KriSourceEvent as E;

        match (event, &mut self.details) {
            (E::KriSourceConfigured { kri, config }, details) => {
                *details = Some(KriSourceDetails {
                    kri,
                    config,
                    disabled: false,
                });
            }
            // Each later event was decided on a source that exists.
            (_, None) => {}
            (E::KriSourceChanged { config }, Some(details)) => details.config = config,
            (E::KriSourceDisabled { .. }, Some(details)) => details.disabled = true,
            (E::KriSourceEnabled {}, Some(details)) => details.disabled = false,
        }
    }
}
