//! Auditing the log where it is kept, on the real servers: what an insider may do to each copy is found, and named.

mod commands;
mod file;
mod jetstream;
mod notes;
mod postgres;
mod replay;
pub mod support;
