//! counterfoil
pub mod gateway;
