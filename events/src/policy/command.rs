//! What may be asked of a policy.

use crate::document::DocumentRef;

/// A command to a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyCommand {
    /// Add a version. The caller has compiled it and run its tests, and appends the document in the same transaction.
    Publish {
        /// Its source.
        source: DocumentRef,
        /// How many tests of its own it passed.
        tests: u32,
    },
    /// Let a version decide.
    Activate {
        /// Which.
        version: u32,
    },
    /// Let a version decide that has decided before.
    RollBack {
        /// Which; the one before the active one, if not given.
        to: Option<u32>,
    },
}
