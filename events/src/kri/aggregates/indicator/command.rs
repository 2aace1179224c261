//! What may be asked of a KRI.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KriEvent;
use crate::kri::bands::Bands;
use crate::kri::frequency::Schedule;
use crate::kri::text::Unit;
use crate::text::{Code, Name};

/// A command to a KRI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KriCommand {
    /// Make it.
    Define(KriDefinition),
    /// Let it be this from now on.
    Change(KriDefinition),
    /// Measure it no more.
    Retire {
        /// Why, as a stable code.
        reason: Code,
    },
}

/// What a KRI is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KriDefinition {
    /// What people call it.
    pub name: Name,
    /// In what it is measured.
    pub unit: Unit,
    /// Which values are green, amber and red, and which direction is worse.
    pub bands: Bands,
    /// How often it is measured, and how much later at most.
    pub schedule: Schedule,
}

impl KriDefinition {
    pub(super) fn defined(self) -> KriEvent {
        let Self {
            name,
            unit,
            bands,
            schedule,
        } = self;
        KriEvent::KriDefined {
            name,
            unit,
            bands,
            schedule,
        }
    }

    pub(super) fn changed(self) -> KriEvent {
        let Self {
            name,
            unit,
            bands,
            schedule,
        } = self;
        KriEvent::KriChanged {
            name,
            unit,
            bands,
            schedule,
        }
    }
}
