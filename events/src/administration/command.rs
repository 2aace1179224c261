//! What may be asked of the administration.

use crate::ids::UserId;
use crate::text::Code;

/// A command to the administration. But for the last, each goes with a command to the user, in one commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdministrationCommand {
    /// A user becomes a live administrator.
    Add {
        /// Who.
        user: UserId,
    },
    /// A live administrator ceases to be one.
    Remove {
        /// Who.
        user: UserId,
    },
    /// Refuse the bootstrap token from now on.
    Close {
        /// Who administers instead.
        user: UserId,
        /// Whether it becomes an administrator by the same commit.
        joins: bool,
    },
    /// Heed the bootstrap token again.
    Reopen {
        /// Why, as a stable code.
        reason: Code,
    },
}
