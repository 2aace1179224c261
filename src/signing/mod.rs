//! The signing key (and the pepper of API keys): where it rests, how it is loaded, how it is followed by another.
//!
//! The key rests sealed under the KMS of the vault and in no other form. It is opened at start and held in memory, so
//! nothing but a start or a rotation depends on the KMS or on where it rests.

mod file;
mod key_file;
mod rotation;
mod sealed;

pub(crate) use file::place_bytes;
pub use file::{KeyFileError, ensure, load_secret, load_text, place};
pub use key_file::KeyFile;
pub use rotation::{Rotated, RotationError, rotate};
pub use sealed::SealedKey;
