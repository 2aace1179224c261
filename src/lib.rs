//! counterfoil

pub mod cli;
pub mod gateway;
pub mod http;
pub mod policy;
pub mod stack;

pub mod kri;
