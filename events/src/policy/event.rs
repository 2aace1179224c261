//! What happens to a policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::DocumentRef;

/// An event of a policy, in the log of the tenant or of the organisation's home tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum PolicyEvent {
    /// There is another version of the policy; it decides nothing yet.
    PolicyPublished {
        /// Its number: 1, 2, 3 …
        version: u32,
        /// Its source, which compiled.
        source: DocumentRef,
        /// How many tests of its own it passed.
        tests: u32,
    },
    /// This version of the policy decides from here on.
    PolicyActivated {
        /// Which.
        version: u32,
    },
    /// A version of the policy that decided before decides again from here on.
    PolicyRolledBack {
        /// The version that decided until here.
        from: u32,
        /// The version that decides again.
        to: u32,
    },
}
