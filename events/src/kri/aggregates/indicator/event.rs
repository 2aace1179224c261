//! What happens to a KRI.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kri::bands::Bands;
use crate::kri::frequency::Schedule;
use crate::kri::text::Unit;
use crate::text::{Code, Name};

/// An event of a KRI, in its tenant's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum KriEvent {
    /// The KRI exists.
    KriDefined {
        /// What people call it.
        name: Name,
        /// In what it is measured.
        unit: Unit,
        /// Which values are green, amber and red, and which direction is worse.
        bands: Bands,
        /// How often it is measured, and how much later at most.
        schedule: Schedule,
    },
    /// From here on, the KRI is this.
    KriChanged {
        /// What people call it.
        name: Name,
        /// In what it is measured.
        unit: Unit,
        /// Which values are green, amber and red, and which direction is worse.
        bands: Bands,
        /// How often it is measured, and how much later at most.
        schedule: Schedule,
    },
    /// The KRI is measured no more, for good.
    KriRetired {
        /// Why, as a stable code.
        reason: Code,
    },
}
