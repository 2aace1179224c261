//! What happens to the switch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::Code;
use crate::timestamp::Timestamp;

/// An event of the switch, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum OriginEvent {
    /// Requests are answered without proof of origin.
    OriginProofSuspended {
        /// Until when; from then on proof is asked for again, with no further event.
        until: Timestamp,
        /// Why, as a stable code.
        reason: Code,
    },
    /// Proof of origin is asked for again, before its time.
    OriginProofRestored {
        /// Why, as a stable code.
        reason: Code,
    },
}
