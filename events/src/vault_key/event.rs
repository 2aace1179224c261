//! What happens to an organisation's key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An event of an organisation's key, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum VaultKeyEvent {
    /// From here on, this key wraps what is stored.
    VaultKeyRotated {
        /// Which of the organisation's keys: 2, 3, 4 …
        number: u32,
    },
}
