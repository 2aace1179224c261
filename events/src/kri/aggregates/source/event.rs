//! What happens to a source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StoredConfig;
use crate::kri::aggregates::KriId;
use crate::text::Code;

/// An event of a source, in its tenant's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum KriSourceEvent {
    /// The source exists.
    KriSourceConfigured {
        /// The KRI that it measures.
        kri: KriId,
        /// How; a CSV text is a document.
        config: StoredConfig,
    },
    /// From here on, the source measures like this.
    KriSourceChanged {
        /// How; a CSV text is a document.
        config: StoredConfig,
    },
    /// The source may not be run.
    KriSourceDisabled {
        /// Why, as a stable code.
        reason: Code,
    },
    /// The source may be run again.
    KriSourceEnabled {},
}
