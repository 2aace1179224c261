//! The gateway over real HTTP: real server, policies, providers; log and directory in memory, so that each can fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod memory;
mod prompts;
mod refusals;
mod repeats;
mod streams;
pub mod support;
mod surface;
mod upstreams;
mod whole;
