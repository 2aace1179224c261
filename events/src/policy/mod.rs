//! Policies: the Rego texts of one layer, in versions; which one is active; and the way back.
//!
//! There is one policy a layer; its aggregate id is the layer's name ([`PolicyLayer`]). The organisation's stands in
//! the log of its home tenant, a tenant's own in the tenant's. The source is a document. That it compiles and that
//! its own tests pass is checked before it is published, since that takes an engine; so every published version is
//! fit to be activated. Nothing is active before the first activation, and a layer with nothing active denies.

mod command;
mod error;
mod event;
mod layer;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::PolicyCommand;
pub use error::PolicyError;
pub use event::PolicyEvent;
pub use layer::{PolicyLayer, PolicyRef, UnknownLayer};

use crate::aggregate::event_sourced;
use crate::document::DocumentRef;

/// Most versions of one policy: three a day for nine years. It bounds the state.
pub const MAX_VERSIONS: u32 = 10_000;

/// A policy's state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The newest version; 0 before the first is published.
    pub newest: u32,
    /// The newest version's source.
    pub newest_source: Option<DocumentRef>,
    /// The version that decides.
    pub active: Option<u32>,
    /// The version that decided before it.
    pub previous: Option<u32>,
    /// Every version that has ever decided.
    pub ever_active: BTreeSet<u32>,
}

event_sourced!(
    Policy,
    "policy",
    PolicyCommand,
    PolicyError,
    PolicyEvent {
        PolicyPublished,
        PolicyActivated,
        PolicyRolledBack,
    }
);

impl Policy {
    fn decide(&self, command: PolicyCommand) -> Result<PolicyEvent, PolicyError> {
        use PolicyCommand as C;

        match command {
            C::Publish { source, tests } => self.publish(source, tests),
            _ if self.newest == 0 => Err(PolicyError::NotFound),
            C::Activate { version } => self.activate(version),
            C::RollBack { to } => self.roll_back(to),
        }
    }

    fn publish(&self, source: DocumentRef, tests: u32) -> Result<PolicyEvent, PolicyError> {
        if self.newest_source == Some(source) {
            return Err(PolicyError::Unchanged { version: self.newest });
        }
        if self.newest >= MAX_VERSIONS {
            return Err(PolicyError::TooManyVersions);
        }
        Ok(PolicyEvent::PolicyPublished {
            version: self.newest + 1,
            source,
            tests,
        })
    }

    fn activate(&self, version: u32) -> Result<PolicyEvent, PolicyError> {
        if version == 0 || version > self.newest {
            return Err(PolicyError::NoSuchVersion {
                version,
                newest: self.newest,
            });
        }
        if self.active == Some(version) {
            return Err(PolicyError::AlreadyActive { version });
        }
        Ok(PolicyEvent::PolicyActivated { version })
    }

    fn roll_back(&self, to: Option<u32>) -> Result<PolicyEvent, PolicyError> {
        let from = self.active.ok_or(PolicyError::NothingActive)?;
        let to = to.or(self.previous).ok_or(PolicyError::NothingBefore)?;
        if to == from {
            return Err(PolicyError::AlreadyActive { version: to });
        }
        if !self.ever_active.contains(&to) {
            return Err(PolicyError::NeverActive { version: to });
        }
        Ok(PolicyEvent::PolicyRolledBack { from, to })
    }

    fn fold(&mut self, event: PolicyEvent) {
        match event {
            PolicyEvent::PolicyPublished { version, source, .. } => {
                self.newest = version;
                self.newest_source = Some(source);
            }
            PolicyEvent::PolicyActivated { version } | PolicyEvent::PolicyRolledBack { to: version, .. } => {
                self.previous = self.active.replace(version);
                self.ever_active.insert(version);
            }
        }
    }
}
