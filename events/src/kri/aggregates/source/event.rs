//! What happens to a source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoredConfig;
use crate::kri::aggregates::KriId;
use crate::schema::{EventSchema, Upcast};
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

/// Version 1.0 knew no credentials, and 1.1 none of a CSV source.
pub(super) const CONFIGURED: EventSchema = with_credentials("KriSourceConfigured");
/// As [`CONFIGURED`].
pub(super) const CHANGED: EventSchema = with_credentials("KriSourceChanged");

const fn with_credentials(event_type: &'static str) -> EventSchema {
    EventSchema {
        event_type,
        version: "1.2",
        upcasts: &[
            Upcast {
                from: "1.0",
                to: "1.1",
                lift: unchanged,
            },
            Upcast {
                from: "1.1",
                to: "1.2",
                lift: unchanged,
            },
        ],
    }
}

/// A source without a credential says nothing of one.
fn unchanged(payload: Value) -> Value {
    payload
}
