//! The keyring as an aggregate: which key signs now, and which may come next.
//!
//! That each key's event is signed by the key before it is seen to by the ledger when it places the event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyringCommand, KeyringError, KeyringEvent, SigningKeyIntroduced};
use crate::aggregate::event_sourced;
use crate::ids::KeyId;

/// Most keys ever introduced: a rotation a week for 19 years. It bounds what every verifier holds.
pub const MAX_KEYS: usize = 1_024;

/// The signing keys' state: their ids, in the order in which they were introduced. The last one signs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SigningKeys {
    /// Oldest first.
    pub key_ids: Vec<KeyId>,
}

event_sourced!(
    SigningKeys,
    "keyring",
    KeyringCommand,
    KeyringError,
    KeyringEvent { SigningKeyIntroduced }
);

impl SigningKeys {
    /// The key that signs now.
    #[must_use]
    pub fn current(&self) -> Option<KeyId> {
        self.key_ids.last().copied()
    }

    fn decide(&self, command: KeyringCommand) -> Result<KeyringEvent, KeyringError> {
        let public_key = match (command, self.current()) {
            (KeyringCommand::Introduce { .. }, Some(_)) => return Err(KeyringError::AlreadyIntroduced),
            (KeyringCommand::Rotate { .. }, None) => return Err(KeyringError::NotFound),
            (KeyringCommand::Introduce { public_key }, None)
            | (KeyringCommand::Rotate { public_key }, Some(_)) => public_key,
        };
        // The short name has to be enough to find the key, so a second key with the same one is refused too.
        if self.key_ids.contains(&public_key.id()) {
            return Err(KeyringError::KeyIdTaken(public_key.id()));
        }
        if self.key_ids.len() >= MAX_KEYS {
            return Err(KeyringError::TooManyKeys);
        }
        Ok(SigningKeyIntroduced::of(&public_key, self.current()).into())
    }

    fn fold(&mut self, event: KeyringEvent) {
        let KeyringEvent::SigningKeyIntroduced { key_id, .. } = event;
        self.key_ids.push(key_id);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
