//! projections

pub mod rollup;
