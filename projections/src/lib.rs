//! Read models of the log, and the engine that keeps and rebuilds them.
//!
//! A projection ([`engine::Projection`]) is a name, a filter, a pure fold over rows, and the SQL of its tables. The
//! engine does the rest, the same for all: cursors as the fence, parking of what cannot be folded, rebuilds beside
//! the live version, the swap, and the comparison of a live version with a fresh one.
//!
//! One folder per read model, named as its context is on every floor.

pub mod engine;
pub mod rollup;
