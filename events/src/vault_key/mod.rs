//! The key of an organisation in the vault: which one wraps new data keys from when on.
//!
//! It stands in the platform's log (aggregate id: the organisation's; the nil id is the platform itself). The first key
//! is made when the first secret is stored and is no event; every later one is. The key itself lies beside the log,
//! wrapped by the KMS, and is written before the event, as a secret's ciphertext is. What an earlier key has wrapped is
//! wrapped anew after the event, while everything goes on, so the log says since when the new key is used, and not that
//! the old one is gone.

mod error;
mod event;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use error::VaultKeyError;
pub use event::VaultKeyEvent;

use crate::aggregate::event_sourced;

/// The state: the number of the key that the log names last; 1 before any event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultKey {
    /// 1, 2, 3 …
    pub number: u32,
}

impl Default for VaultKey {
    fn default() -> Self {
        Self { number: 1 }
    }
}

/// A command to an organisation's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VaultKeyCommand {
    /// Let this one wrap from now on. It is in its place already.
    Rotate {
        /// Its number: above every one before.
        number: u32,
    },
}

event_sourced!(
    VaultKey,
    "vault_key",
    VaultKeyCommand,
    VaultKeyError,
    VaultKeyEvent { VaultKeyRotated }
);

impl VaultKey {
    fn decide(&self, command: VaultKeyCommand) -> Result<VaultKeyEvent, VaultKeyError> {
        let VaultKeyCommand::Rotate { number } = command;
        match number > self.number {
            true => Ok(VaultKeyEvent::VaultKeyRotated { number }),
            false => Err(VaultKeyError::NotLater { newest: self.number }),
        }
    }

    fn fold(&mut self, event: VaultKeyEvent) {
        let VaultKeyEvent::VaultKeyRotated { number } = event;
        self.number = number;
    }
}
