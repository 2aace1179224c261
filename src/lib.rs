//! counterfoil

pub mod cli;
pub mod gateway;
pub mod http;
pub mod stack;
pub mod policy;
