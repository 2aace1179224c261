//! Key risk indicators: what one is, how its value is read, and what colour a value has.
//!
//! Everything here is a function from values to values. Decimals are exact and travel as strings,
//! and whatever depends on the present takes the instant as an argument: a status is computed at
//! read for an explicit `at`, from a `fresh_until` that the event fixed.

pub mod aggregates;
pub mod bands;
pub mod exact;
pub mod frequency;
pub mod ledger;
pub mod pointer;
pub mod source;
pub mod status;
pub mod text;
pub mod value;
