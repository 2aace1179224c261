//! What happens to the administration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::text::Code;

/// An event of the administration, in the platform's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum AdministrationEvent {
    /// The user administers the platform: it has the role and is not suspended.
    AdministratorAdded {
        /// Who.
        user: UserId,
    },
    /// The user administers the platform no more.
    AdministratorRemoved {
        /// Who.
        user: UserId,
    },
    /// The bootstrap token is refused from here on, on every process, whatever is configured.
    BootstrapClosed {
        /// Who administers instead.
        administrator: UserId,
    },
    /// The bootstrap token is heeded again: an operator's emergency.
    BootstrapReopened {
        /// Why, as a stable code.
        reason: Code,
    },
}
