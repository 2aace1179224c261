//! The HTTP interface of the real program: what it says to bad input, and what its queries answer.

mod bad_input;
mod bad_sources;
mod queries;
mod waiting;
