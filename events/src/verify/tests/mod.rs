//! Tests of the verifier: its rules one by one, and the laws that hold for any log and any tampering.
#![allow(clippy::unwrap_used)]

mod files;
pub(crate) mod generate;
mod laws;
mod rules;
mod vector;
