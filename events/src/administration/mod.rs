//! Who administers the platform, as one thing: so that the last administrator cannot go, and the bootstrap token ends.
//!
//! It stands in the platform's log once ([`AGGREGATE_ID`]). A role of `platform_admin` is granted to a user, in the user's
//! own events; each command that makes a user a live administrator (has the role, is not suspended), or ends that, leaves
//! its event here in the same commit. Of two who remove the last two at one time, one conflicts and is decided again: that
//! is how the invariant is held. Once the bootstrap token is closed there is always one who is live.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::AdministrationCommand;
pub use error::AdministrationError;
pub use event::AdministrationEvent;

use crate::aggregate::event_sourced;
use crate::ids::UserId;

/// The one id there is.
pub const AGGREGATE_ID: &str = "administration";
/// Most administrators: whoever has more has given the role to people who do not administer.
pub const MAX_ADMINISTRATORS: usize = 256;

/// Who administers, and whether the bootstrap token is closed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Administration {
    /// Whether the bootstrap token is refused.
    pub closed: bool,
    /// Those who are live.
    pub administrators: BTreeSet<UserId>,
}

event_sourced!(
    Administration,
    "administration",
    AdministrationCommand,
    AdministrationError,
    AdministrationEvent {
        AdministratorAdded,
        AdministratorRemoved,
        BootstrapClosed,
        BootstrapReopened,
    }
);

impl Administration {
    fn decide(&self, command: AdministrationCommand) -> Result<AdministrationEvent, AdministrationError> {
        use {AdministrationCommand as C, AdministrationError as Refused, AdministrationEvent as E};

        let full = self.administrators.len() >= MAX_ADMINISTRATORS;
        let is_last = |user: &UserId| self.administrators.len() == 1 && self.administrators.contains(user);
        match command {
            C::Add { user } if self.administrators.contains(&user) => Err(Refused::AlreadyThere(user)),
            C::Add { .. } if full => Err(Refused::TooMany),
            C::Add { user } => Ok(E::AdministratorAdded { user }),
            C::Remove { user } if self.closed && is_last(&user) => Err(Refused::LastAdministrator),
            C::Remove { user } if self.administrators.contains(&user) => Ok(E::AdministratorRemoved { user }),
            C::Remove { user } => Err(Refused::NotThere(user)),
            C::Close { .. } if self.closed => Err(Refused::AlreadyClosed),
            C::Close { user, joins } if !joins && !self.administrators.contains(&user) => {
                Err(Refused::NotThere(user))
            }
            C::Close { user, joins } if joins && full && !self.administrators.contains(&user) => {
                Err(Refused::TooMany)
            }
            C::Close { user, .. } => Ok(E::BootstrapClosed { administrator: user }),
            C::Reopen { .. } if !self.closed => Err(Refused::NotClosed),
            C::Reopen { reason } => Ok(E::BootstrapReopened { reason }),
        }
    }

    fn fold(&mut self, event: AdministrationEvent) {
        use AdministrationEvent as E;

        match event {
            E::AdministratorAdded { user } => drop(self.administrators.insert(user)),
            E::AdministratorRemoved { user } => drop(self.administrators.remove(&user)),
            E::BootstrapClosed { administrator } => {
                self.closed = true;
                self.administrators.insert(administrator);
            }
            E::BootstrapReopened { .. } => self.closed = false,
        }
    }
}
