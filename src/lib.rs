//! Counterfoil: an event-sourced control and evidence platform for organisations that run AI agents under supervision.
//!
//! This package is the edge: what faces people and programs (`cli`, `http`, `gateway`), what decides and fetches
//! (`policy`, `kri`), and what sets a process up (`config`, `init`, `stack`). The log itself is
//! `counterfoil-events`; `docs/architecture.md` walks one command through all of it.

pub mod administration;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod erasure;
pub mod faults;
pub mod gateway;
pub mod http;
pub mod identity;
pub mod init;
pub mod issuer;
pub mod kri;
pub mod limits;
pub mod policy;
pub mod serve;
pub mod session;
pub mod signing;
pub mod stack;
pub mod subscriber;
pub mod telemetry;
pub mod up;
pub mod vault;
pub mod wiping;
