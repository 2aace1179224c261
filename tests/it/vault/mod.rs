//! The vault: secrets and their uses, keys and their rotations, and what is left in memory.

mod keys;
mod memory;
mod noun;
pub mod scene;
mod secrets;
mod sources;
