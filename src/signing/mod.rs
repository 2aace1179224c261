//! The signing key (and the pepper of API keys): where it rests, and how it is loaded.
//!
//! It is loaded at start and held in memory, so nothing but a start or a rotation depends on where it rests.

mod file;

pub use file::{KeyFileError, ensure, load, load_or_create, load_secret, place};
