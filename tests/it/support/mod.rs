//! What the tests share.

pub mod binary;
pub mod servers;
pub mod stack;
