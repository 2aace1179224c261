//! counterfoil

pub mod cli;
pub mod config;
pub mod gateway;
pub mod http;
pub mod kri;
pub mod policy;
pub mod stack;
pub mod telemetry;
