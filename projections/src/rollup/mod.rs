//! Carrier rollups: one KRI over all tenants that a carrier carries.

pub mod statistics;
