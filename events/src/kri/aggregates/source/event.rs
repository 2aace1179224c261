//! What happens to a source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kri::aggregates::KriId;
use crate::kri::source::SourceConfig;
use crate::text::Code;

/// An event of a source, in its tenant's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum KriSourceEvent {
    /// It exists.
    KriSourceConfigured {
        /// The KRI that it measures.
        kri: KriId,
        /// How. A CSV text stands in a document, never here.
        config: SourceConfig,
    },
    /// From here on, it measures like this.
    KriSourceChanged {
        /// How. A CSV text stands in a document, never here.
        config: SourceConfig,
    },
    /// It may not be run.
    KriSourceDisabled {
        /// Why, as a stable code.
        reason: Code,
    },
    /// It may be run again.
    KriSourceEnabled {},
}
