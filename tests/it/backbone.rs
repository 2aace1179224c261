//! The backbone against a real NATS: the stream equals the ledger, whatever happens to it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod command;
mod faults;
mod quarantine;
mod refill;
mod relay;
