//! What may be asked of the keyring.

use crate::signature::PublicKey;

/// A command to the keyring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyringCommand {
    /// Introduce the first key.
    Introduce {
        /// Its public half.
        public_key: PublicKey,
    },
    /// Let another key sign from the next event on.
    Rotate {
        /// Its public half.
        public_key: PublicKey,
    },
}
