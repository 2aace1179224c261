//! The signing key (and the pepper of API keys): where it rests, how it is loaded, how it is followed by another.
//!
//! It is loaded at start and held in memory, so nothing but a start or a rotation depends on where it rests.

mod file;
mod key_file;
mod rotation;

pub use file::{KeyFileError, ensure, load, load_or_create, load_secret, load_text, place};
pub use key_file::KeyFile;
pub use rotation::{Rotated, RotationError, rotate};
