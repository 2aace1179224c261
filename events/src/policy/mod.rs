//! Policies.

mod layer;

pub use layer::{PolicyLayer, PolicyRef, UnknownLayer};
