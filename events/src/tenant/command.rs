//! What may be asked of a tenant.

use super::Share;
use crate::ids::OrganisationId;
use crate::membership::Level;
use crate::money::Money;
use crate::text::{Code, Name};
use crate::timestamp::Timestamp;

/// A command to a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TenantCommand {
    /// Make it.
    Create {
        /// Whose it is.
        organisation: OrganisationId,
        /// What people call it.
        name: Name,
        /// Whether it is its organisation's home tenant.
        home: bool,
    },
    /// Call it something else.
    Rename {
        /// Its new name.
        name: Name,
    },
    /// Stop everything in it until it is resumed. A higher level may stop what a lower one stopped before.
    Suspend {
        /// Why, as a stable code.
        reason: Code,
        /// From where.
        level: Level,
    },
    /// Let it go on.
    Resume {
        /// From where: not from below the level that stopped it.
        level: Level,
    },
    /// End it for good: it takes no commands and no calls any more, and is kept until a date.
    Close {
        /// Why, as a stable code.
        reason: Code,
        /// Until when everything of it is kept.
        retain_until: Timestamp,
        /// The present, against which `retain_until` is checked.
        now: Timestamp,
    },
    /// Say that what can be erased of it was erased.
    Erase {
        /// How many sealed versions of secrets were destroyed.
        secrets: u32,
        /// The present: nothing is erased before the date.
        now: Timestamp,
    },
    /// Let a carrier carry a share of its risk, in place of the share it carried before.
    Carry {
        /// Which organisation.
        carrier: OrganisationId,
        /// How much of the risk.
        share: Share,
    },
    /// End what a carrier carries.
    Release {
        /// Which organisation.
        carrier: OrganisationId,
    },
    /// Say how much is at risk.
    SetExposure {
        /// How much; not negative.
        amount: Money,
    },
}
